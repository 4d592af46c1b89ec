//! The pages of both planes in a real browser. What must be so of them is in `browser/pages.py`.

use gateway_checks::source::root;
use gateway_fake::Upstream;

use crate::gateway::{Place, config};
use crate::{PATIENCE, clients};

#[tokio::test]
async fn pages_are_whole_and_legible_in_a_browser() {
    let (Some(mut client), Some(browser)) = (clients::python(), clients::browser()) else { return };
    let place = Place::new();
    place.write("gateway.yaml", &config(&Upstream::start().await.url()));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    client.arg(root().join("deploy/checks/tests/browser/pages.py")).arg(browser).kill_on_drop(true);
    // What the admin listener has at its root is the dashboard: see `dashboard.rs`.
    client.args([format!("http://{}/docs", gateway.addr), format!("http://{}/", gateway.addr)]);
    client.arg(format!("http://{}/docs", gateway.admin_addr()));
    let output = tokio::time::timeout(PATIENCE * 2, client.output()).await;
    let output = output.expect("the browser ends").expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
