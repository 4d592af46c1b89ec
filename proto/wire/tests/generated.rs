//! The generated code is what the `.proto` files say. `UPDATE_GENERATED=1 cargo test -p gateway-wire` rewrites it.
//!
//! Compiled with a pure-Rust compiler, so that neither a build nor this test needs `protoc`.

use std::path::Path;

#[test]
fn generated_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = root.join("..");
    let descriptors = protox::compile(["gateway/v1/fleet.proto"], [&protos]).expect("the .proto files compile");
    let out = tempfile::tempdir().expect("a temporary directory");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .bytes(".gateway.v1.SnapshotChunk.data")
        .bytes(".gateway.v1.Item.document")
        .bytes(".gateway.v1.BodyPart.content")
        // Written by hand in `redact`: their content must not be printable.
        .skip_debug([".gateway.v1.Item", ".gateway.v1.Pepper", ".gateway.v1.SnapshotChunk", ".gateway.v1.BodyPart"])
        // Log records are shown to people as JSON, the same on a node and in the admin API.
        .type_attribute(".gateway.v1.LogRecord", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.Attempt", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.PassedOver", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.AutoChoice", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.ExperimentArm", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.CacheUse", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.TokenUsage", "#[derive(serde::Serialize)]")
        .type_attribute(".gateway.v1.Units", "#[derive(serde::Serialize)]")
        .field_attribute(".gateway.v1.LogRecord.settled_by", "#[serde(serialize_with = \"crate::text::settled_by\")]")
        .build_client(true)
        .build_server(true)
        .compile_fds(descriptors)
        .expect("code generation");
    let fresh = std::fs::read_to_string(out.path().join("gateway.v1.rs")).expect("generated file");
    let checked_in = root.join("src/generated/gateway.v1.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&checked_in, &fresh).expect("write the generated file");
    }
    let current = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(current == fresh, "src/generated is stale: run UPDATE_GENERATED=1 cargo test -p gateway-wire");
}
