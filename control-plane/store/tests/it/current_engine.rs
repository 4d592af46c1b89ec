//! What is kept in a ClickHouse is kept in one of today as in that of the system's packages: the tests of this program once more, with
//! the engine of a current one.

use std::process::Command;

use gateway_testing::clickhouse::{self, CURRENT};

#[test]
fn a_current_clickhouse_takes_the_same() {
    if !clickhouse::has_current() {
        return;
    }
    // One by one: what stands between the engine and us does one thing at a time.
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let ran = tests.args(["clickhouse::", "--test-threads=1"]).env(CURRENT, "yes").output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("test clickhouse::") && told.contains(" 0 ignored"), "none ran:\n{told}");
}
