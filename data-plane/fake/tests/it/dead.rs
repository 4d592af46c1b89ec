//! Dead addresses: refused at once, or never answered.

use std::io::ErrorKind;
use std::time::Duration;

use gateway_fake::Dead;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn one_refuses_and_the_other_says_nothing() {
    let (refusing, silent) = (Dead::refusing(), Dead::silent().await);
    let refused = TcpStream::connect(refusing.addr()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(timeout(Duration::from_millis(200), TcpStream::connect(silent.addr())).await.is_err());
}
