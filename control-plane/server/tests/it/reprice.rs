//! What a past window costs by other prices, and what a request costs by those of now.

use gateway_store::usage::{Sender, Tokens, UsageRow};
use serde_json::{Value, json};

use crate::world::World;

const DAY_MS: i64 = 86_400_000;
/// 2027-01-15.
const DAY: i64 = 20_833;

/// Ten requests of two days at a price of a dollar a million; one nobody knows what it used, one out of the cache, one whose price its
/// provider told its node, one in a batch and one in a tier.
async fn spent(world: &World) {
    let price = json!({"provider": "p", "model": "m-1", "input_per_1m": 1, "output_per_1m": 10});
    for (kind, document) in [
        (
            "providers",
            json!({"name": "p", "kind": "openai-compatible", "api_key": "sk-first-0123456789", "base_url": "https://p.example/v1"}),
        ),
        ("prices", price),
        ("models", json!({"name": "m", "targets": [{"provider": "p", "model": "m-1"}]})),
    ] {
        world.call("POST", &format!("/admin/{kind}"), document).await.expect(201);
    }
    let ordinary = |number: i64| UsageRow {
        id: format!("r{number}"),
        started_ms: (DAY + number % 2) * DAY_MS + number,
        model: "m".to_owned(),
        provider: "p".to_owned(),
        upstream_model: "m-1".to_owned(),
        tokens: Tokens { input: 1_000, output: 100, ..Tokens::default() },
        cost_nano_usd: 2_000_000,
        // Half of them were served by the first target, half were held against one that charges five.
        baseline_nano_usd: Some(if number % 2 == 0 { 2_000_000 } else { 5_000_000 }),
        priced: true,
        price: "prices@1".to_owned(),
        settled_by: "exact".to_owned(),
        tags: "[]".to_owned(),
        ..UsageRow::default()
    };
    let none = Tokens::default();
    let rows: Vec<UsageRow> = (0..10)
        .map(|number| match number {
            5 => UsageRow {
                tokens: none,
                cost_nano_usd: 0,
                baseline_nano_usd: None,
                priced: false,
                price: String::new(),
                ..ordinary(number)
            },
            6 => UsageRow { price: String::new(), cost_nano_usd: 0, ..ordinary(number) },
            7 => UsageRow { price: "offered".to_owned(), upstream_model: "other".to_owned(), ..ordinary(number) },
            8 => UsageRow { tier: "batch".to_owned(), ..ordinary(number) },
            9 => UsageRow { tier: "priority".to_owned(), ..ordinary(number) },
            _ => ordinary(number),
        })
        .collect();
    let from = Sender { node: "node_1", boot: "b", at_ms: gateway_server::clock::unix_ms() };
    world.control.app().store.ingest_usage(from, 0, 1, &rows).await.unwrap();
}

async fn reprice(world: &World, more: Value) -> Value {
    let mut body = json!({"from": "2027-01-15", "to": "2027-01-16"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.call("POST", "/admin/spend/reprice", body).await.expect(200)
}

async fn total(world: &World) -> (i64, Value) {
    let spend = world.get("/admin/spend?group_by=day").await.expect(200);
    (spend["total"]["cost_nano_usd"].as_i64().unwrap(), spend["total"]["unpriced_requests"].clone())
}

/// Net, in nano-dollars.
async fn saved(world: &World) -> i64 {
    let spend = world.get("/admin/spend?group_by=day").await.expect(200);
    spend["total"]["saved_nano_usd"].as_i64().unwrap()
}

#[tokio::test]
async fn a_past_window_is_priced_anew() {
    let world = World::new().await;
    spent(&world).await;
    assert_eq!(total(&world).await, (16_000_000, json!(1)));
    // Numbers 1, 3, 7 and 9 three each, number 6 out of the cache all of its two.
    assert_eq!(saved(&world).await, 14_000_000);
    let same = reprice(&world, json!({})).await;
    assert_eq!((&same["requests"], &same["changed"], &same["kept"]), (&json!(10), &json!(0), &json!(3)), "{same}");

    // Twice the price, half of that in batches, and a tier.
    let price =
        json!({"input_per_1m": 2, "output_per_1m": 20, "batch_percent": 50, "tiers": {"priority": {"percent": 150}}});
    let before =
        world.get("/admin/config/revisions?class=topology&limit=1").await.expect(200)["data"][0]["revision"].clone();
    world.call("PATCH", "/admin/prices/p%2Fm-1", price).await.expect(200);
    let told = reprice(&world, json!({})).await;
    // Five of 4, one of 2 in a batch, one of 6 in the tier; and one of 2 that is not ours to say.
    assert_eq!((&told["dry_run"], &told["changed"]), (&json!(true), &json!(6)), "{told}");
    assert_eq!(
        (&told["before"]["cost_nano_usd"], &told["after"]["cost_nano_usd"]),
        (&json!(16_000_000), &json!(30_000_000))
    );
    assert_eq!((&told["difference_usd"], &told["after"]["unpriced_requests"]), (&json!("0.014"), &json!(1)), "{told}");
    assert!(told["budgets"].as_str().unwrap().starts_with("unchanged"), "{told}");
    assert_eq!(total(&world).await, (16_000_000, json!(1)), "it was only told");

    // By pieces, one of them twice.
    let (mut after, mut n_pieces) = (Value::Null, 0);
    loop {
        let more = json!({"dry_run": false, "limit": 4, "after": after});
        let piece = reprice(&world, more.clone()).await;
        if n_pieces == 1 {
            assert_eq!(reprice(&world, more).await["changed"], 0, "done again it changes nothing");
        }
        n_pieces += 1;
        after = piece["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!((n_pieces, total(&world).await), (3, (30_000_000, json!(1))));
    let usage = world.get("/admin/usage").await.expect(200);
    let of = |id: &str| usage["data"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone();
    let revision = told["revision"].as_u64().unwrap();
    assert_eq!(
        (&of("r1")["cost_nano_usd"], &of("r1")["price"]),
        (&json!(4_000_000), &json!(format!("prices@{revision}")))
    );
    assert_eq!((&of("r8")["cost_nano_usd"], &of("r9")["cost_nano_usd"]), (&json!(2_000_000), &json!(6_000_000)));
    assert_eq!((&of("r7")["price"], &of("r9")["tier"]), (&json!("offered"), &json!("priority")));
    // One each of numbers 1 and 3, three of number 7, which is as it was; number 9 is dearer than what it is held against.
    assert_eq!(saved(&world).await, 1_000_000 + 1_000_000 + 3_000_000 - 1_000_000 + 2_000_000);
    assert_eq!(
        (&of("r0")["baseline_nano_usd"], &of("r1")["baseline_nano_usd"], &of("r6")["baseline_nano_usd"]),
        (&json!(4_000_000), &json!(5_000_000), &json!(2_000_000)),
        "what had nothing saved has nothing saved"
    );
    let audit = world.get("/admin/audit?limit=10").await.expect(200);
    let entries = audit["data"].as_array().unwrap().iter().filter(|entry| entry["action"] == "reprice");
    assert_eq!(entries.count(), 4, "{audit}");

    // And back, by the prices of an earlier revision. What had no tier and no batch then has none.
    let back = reprice(&world, json!({"dry_run": false, "revision": before})).await;
    assert_eq!((&back["changed"], total(&world).await), (&json!(6), (16_000_000, json!(1))), "{back}");
    assert_eq!(saved(&world).await, 14_000_000);
    let one =
        reprice(&world, json!({"to": "2027-01-15", "model": "m", "provider": "p", "upstream_model": "other"})).await;
    assert_eq!(one["requests"], 0, "{one}");
}

#[tokio::test]
async fn a_window_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    for (body, named) in [
        (json!({"from": "2027-01-15"}), "to"),
        (json!({"from": "2027-01-16", "to": "2027-01-15"}), "before it begins"),
        (json!({"from": "soon", "to": "2027-01-15"}), "`from` is not a time"),
        (json!({"from": "2027-01-15", "to": "2027-01-16", "limit": 0}), "limit"),
        (json!({"from": "2027-01-15", "to": "2027-01-16", "after": "x"}), "after"),
        (json!({"from": "2027-01-15", "to": "2027-01-16", "bogus": 1}), "bogus"),
        (json!([]), "understood"),
    ] {
        let answer = world.call("POST", "/admin/spend/reprice", body.clone()).await;
        assert!(answer.text.contains(named), "{body}: {}", answer.text);
        answer.expect(400);
    }
    let body = json!({"from": "2027-01-15", "to": "2027-01-16", "revision": 4_000_000});
    world.call("POST", "/admin/spend/reprice", body).await.refused(404, "not_found");
}

#[tokio::test]
async fn spend_calculate() {
    let world = World::new().await;
    spent(&world).await;
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 0}});
    for body in [
        json!({"model": "m", "usage": usage}),
        json!({"model": "p/m-1", "usage": usage}),
        json!({"completion_response": {"model": "m", "usage": usage, "service_tier": "default"}}),
    ] {
        let told = world.call("POST", "/spend/calculate", body).await.expect(200);
        assert_eq!((&told["cost"], &told["cost_nano_usd"]), (&json!(0.002), &json!(2_000_000)), "{told}");
        assert_eq!(
            (&told["provider"], &told["model"], &told["cost_usd"]),
            (&json!("p"), &json!("m-1"), &json!("0.002"))
        );
    }
    // "hello world" is two tokens; four are around the message and three around all.
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": "hello world"}]});
    let told = world.call("POST", "/spend/calculate", asked).await.expect(200);
    assert_eq!((&told["input_tokens"], &told["cost_nano_usd"]), (&json!(9), &json!(9_000)), "{told}");
    let unknown = world.call("POST", "/spend/calculate", json!({"model": "p/other", "usage": usage})).await.expect(200);
    assert_eq!((&unknown["cost"], &unknown["price"]), (&Value::Null, &Value::Null), "{unknown}");
    for (body, status) in [
        (json!({"model": "nobody", "usage": usage}), 404),
        (json!({"usage": usage}), 400),
        (json!({"model": "m"}), 400),
        (json!({"model": "m", "usage": {"prompt_tokens": -1}}), 400),
        (json!({"model": "m", "bogus": 1}), 400),
    ] {
        world.call("POST", "/spend/calculate", body).await.expect(status);
    }
}
