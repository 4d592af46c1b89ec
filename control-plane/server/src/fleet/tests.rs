//! Names that nodes give themselves become keys, labels and log fields, so they are held to a form.

use super::check_id;

#[test]
fn ids_are_short_and_plain() {
    for id in ["node_01M7Y34S6NJZ9SY2EM9KV9V6FQ", "boot-1", "a"] {
        assert!(check_id(id).is_ok(), "{id}");
    }
    let long = "x".repeat(1000);
    for id in ["", "a b", "a\nb", "é", long.as_str()] {
        assert!(check_id(id).is_err(), "{id:?}");
    }
}
