//! What the documents tell a reader to type exists and works.

use std::fs;
use std::path::Path;

use gateway_checks::promises::check_gatewayctl;
use gateway_checks::source::{all, root};

use crate::gateway::Place;

#[tokio::test]
async fn every_command_in_the_documents_exists() {
    let help = Place::new().run(&["--help"]).await;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let documents = all(&root()).into_iter().filter(|source| source.path.ends_with(".md"));
    let findings: Vec<String> = documents.flat_map(|document| check_gatewayctl(&document, &help)).collect();
    assert!(findings.is_empty(), "{findings:#?}\n{help}");
}

#[tokio::test]
async fn the_configuration_in_the_readme_is_valid() {
    let place = Place::new();
    let readme = fs::read_to_string(Path::new(&root()).join("README.md")).expect("there is a README");
    let blocks: Vec<&str> = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the README shows a configuration");
    for block in blocks {
        place.write("gateway.yaml", block);
        let mut validate = place.command(&["validate", "-f", "gateway.yaml"]);
        validate.env("OPENAI_API_KEY", "a-key-of-openai").env("ANTHROPIC_API_KEY", "a-key-of-anthropic");
        let output = validate.output().await.expect("gatewayctl starts");
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
