//! Changing a running gateway from a file.

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};

use crate::gateway::{Place, config};

#[tokio::test]
async fn an_applied_file_serves_the_next_request_and_leaves_streams_alone() {
    let (before, after) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::new();
    before.push(Script::sse_gated(&openai::stream("m", "slow answer", 3), &gate));
    after.respond_with(|received| openai::answer(received, "from the new upstream"));
    let place = Place::new();
    place.write("gateway.yaml", &config(&before.url()));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    // The head comes with the first event.
    let begins = async {
        gate.reached(1).await;
        gate.release(2);
    };
    let (mut stream, ()) = tokio::join!(gateway.chat_stream("m"), begins);
    stream.read_until("slow").await;

    place.write("gateway.yaml", &config(&after.url()));
    let applied = place.run(&["apply", "-f", "gateway.yaml", "--data-dir", "data"]).await;
    let said = String::from_utf8_lossy(&[applied.stdout, applied.stderr].concat()).into_owned();
    assert_eq!(applied.status.code(), Some(0), "{said}");
    assert!(said.contains("revision"), "it says which revision runs: {said}");

    let reply = gateway.chat("m").await;
    assert!(reply.text().contains("from the new upstream"), "{}", reply.text());
    gate.open();
    let rest = stream.rest().await.expect("the old stream ends in order");
    assert!(rest.contains("answer") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_place_and_changes_nothing() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "still here"));
    let place = Place::new();
    let good = config(&upstream.url());
    place.write("gateway.yaml", &good);
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    let cases = [
        ("base_ulr: x", good.replace("    base_url:", "    base_ulr:"), "gateway.yaml:4", "base_ulr"),
        ("a missing provider", good.replace("provider: fake", "provider: fkae"), "gateway.yaml:10", "fkae"),
        ("not YAML", format!("{good}  - ]["), "gateway.yaml:11", ""),
    ];
    for (name, text, place_of_error, word) in cases {
        place.write("gateway.yaml", &text);
        let refused = place.run(&["apply", "-f", "gateway.yaml", "--data-dir", "data"]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(place_of_error) && said.contains(word), "{name}: {said}");
        assert!(gateway.chat("m").await.text().contains("still here"), "{name}");
    }
}
