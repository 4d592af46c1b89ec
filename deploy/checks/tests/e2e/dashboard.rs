//! The dashboard in a real browser. What a person does there, and what must not happen meanwhile, is in `browser/dashboard.py`.

use gateway_checks::source::root;

use crate::gateway::Place;
use crate::{PATIENCE, clients};

#[tokio::test]
async fn the_dashboard_is_walked_through_from_first_run_to_sign_out() {
    let (Some(mut client), Some(browser)) = (clients::python(), clients::browser()) else { return };
    let place = Place::new();
    let gateway = place.up(&[]).await;
    let master = gateway.ready["master_key"].as_str().expect("a master key");
    client.arg(root().join("deploy/checks/tests/browser/dashboard.py")).arg(browser).kill_on_drop(true);
    client.args([format!("http://{}", gateway.admin_addr()), format!("http://{}", gateway.addr), master.to_owned()]);
    let output = tokio::time::timeout(PATIENCE * 4, client.output()).await;
    let output = output.expect("the walk ends").expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
