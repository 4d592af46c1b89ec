//! What was spent, in every form.

use gateway_store::usage::{Sender, Tokens, UsageRow};
use serde_json::{Value, json};

use crate::world::World;

const DAY_MS: i64 = 86_400_000;
/// 2027-01-15.
const DAY: i64 = 20_833;

/// Ten requests of one key, over three days, two teams, two models.
async fn spent(world: &World) -> String {
    let key = world.call("POST", "/admin/keys", json!({"name": "ci,\"nightly\""})).await.expect(201);
    let key_id = key["id"].as_str().unwrap().to_owned();
    let event = |number: i64| UsageRow {
        id: format!("r{number}"),
        started_ms: (DAY + number % 3) * DAY_MS + number,
        key_id: if number == 9 { "vk_gone".to_owned() } else { key_id.clone() },
        model: format!("m{}", number % 2),
        provider: "p".to_owned(),
        team: if number < 5 { "red".to_owned() } else { String::new() },
        organization: "org".to_owned(),
        user: "=cmd()".to_owned(),
        tokens: Tokens { input: 100, output: 10, ..Tokens::default() },
        cost_nano_usd: 1_000_000_001,
        // Number 0 has no price, of number 1 nobody knows, number 2 was dearer.
        baseline_nano_usd: (number != 1).then_some(if number == 2 { 1 } else { 1_500_000_001 }),
        priced: number != 0,
        tags: if number == 1 { r#"["a","b","a"]"#.to_owned() } else { r#"["a"]"#.to_owned() },
        ..UsageRow::default()
    };
    let rows: Vec<UsageRow> = (0..10).map(event).collect();
    let from = Sender { node: "node_1", boot: "b", at_ms: gateway_server::clock::unix_ms() };
    world.control.app().store.ingest_usage(from, 0, 1, &rows).await.unwrap();
    key_id
}

fn column(body: &Value, name: &str) -> Value {
    body["data"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[tokio::test]
async fn spend_roll_up_by_key_team_model() {
    let world = World::new().await;
    let key_id = spent(&world).await;
    let by_model = world.get("/admin/spend").await.expect(200);
    for (name, expected) in [
        ("model", json!(["m0", "m1"])),
        ("requests", json!([5, 5])),
        ("cost_nano_usd", json!([4_000_000_004_i64, 5_000_000_005_i64])),
        ("cost_usd", json!(["4.000000004", "5.000000005"])),
        ("spend", json!([4.000_000_004, 5.000_000_005])),
        ("unpriced_requests", json!([1, 0])),
        // Of one sort 2, 4, 6 and 8, of the other 3, 5, 7 and 9.
        ("saved_nano_usd", json!([500_000_000_i64, 2_000_000_000_i64])),
        ("saved_usd", json!(["0.5", "2"])),
    ] {
        assert_eq!(column(&by_model, name), expected, "{name}");
    }
    let total = &by_model["total"];
    assert_eq!((&total["requests"], &total["cost_usd"]), (&json!(10), &json!("9.000000009")));
    assert_eq!(total["tokens"]["input"], 1000);
    assert_eq!((&total["saved_nano_usd"], &total["saved_usd"]), (&json!(2_500_000_000_i64), &json!("2.5")));
    let lost = world.get("/admin/spend?from=2027-01-17&to=2027-01-17&team=red").await.expect(200);
    assert_eq!(lost["total"]["saved_usd"], "-1", "what was lost is taken off: {lost}");

    let by_key = world.get("/admin/spend?group_by=key").await.expect(200);
    // By id: the one that is gone shows nothing else.
    assert_eq!(column(&by_key, "key"), json!(["ci,\"nightly\"", "vk_gone"]));
    assert_eq!(column(&by_key, "key_id"), json!([key_id, "vk_gone"]));
    assert_eq!(column(&by_key, "requests"), json!([9, 1]));
    for (query, names, requests) in [
        ("team", vec![("team", vec!["", "red"])], vec![5, 5]),
        ("organization", vec![("organization", vec!["org"])], vec![10]),
        ("user", vec![("user", vec!["=cmd()"])], vec![10]),
        ("provider", vec![("provider", vec!["p"])], vec![10]),
        ("tag", vec![("tag", vec!["a", "b"])], vec![10, 1]),
        ("day", vec![("day", vec!["2027-01-15", "2027-01-16", "2027-01-17"])], vec![4, 3, 3]),
        (
            "day,team",
            vec![
                ("day", vec!["2027-01-15", "2027-01-15", "2027-01-16", "2027-01-16", "2027-01-17", "2027-01-17"]),
                ("team", vec!["", "red", "", "red", "", "red"]),
            ],
            vec![2, 2, 1, 2, 2, 1],
        ),
        ("day&from=2027-01-16&to=2027-01-16", vec![("day", vec!["2027-01-16"])], vec![3]),
        ("day&from=2027-01-16T00:00:00Z&to=2027-01-17T00:00:00Z", vec![("day", vec!["2027-01-16"])], vec![3]),
        ("model&team=red&tag=b", vec![("model", vec!["m1"])], vec![1]),
        ("model&key=ci%2C%22nightly%22&from=2027-01-17", vec![("model", vec!["m0", "m1"])], vec![2, 1]),
    ] {
        let body = world.get(&format!("/admin/spend?group_by={query}")).await.expect(200);
        assert_eq!(column(&body, "requests"), json!(requests), "{query}: {body}");
        for (name, expected) in names {
            assert_eq!(column(&body, name), json!(expected), "{query}: {body}");
        }
    }
    let bounded = world.get("/admin/spend?from=2027-01-16T12:00:00Z&to=2027-01-17T12:00:00Z").await.expect(200);
    assert_eq!(
        (&bounded["from"], &bounded["to"]),
        (&json!("2027-01-16"), &json!("2027-01-17")),
        "days are whole, and said"
    );
    assert_eq!(bounded["total"]["requests"], 6);
}

#[tokio::test]
async fn spend_comes_in_pages() {
    let world = World::new().await;
    spent(&world).await;
    let mut requests = Vec::new();
    let mut after = String::new();
    loop {
        let body = world.get(&format!("/admin/spend?group_by=day,team&limit=4{after}")).await.expect(200);
        requests.extend(column(&body, "requests").as_array().unwrap().clone());
        assert_eq!(body["total"]["requests"], 10, "of all pages");
        let Some(next) = body["next"].as_str() else { break };
        after = format!("&after={}", next.replace('[', "%5B").replace(']', "%5D").replace('"', "%22"));
    }
    assert_eq!(requests, [2, 2, 1, 2, 2, 1]);
    let headers = [("host", "localhost"), ("authorization", &*format!("Bearer {}", world.master_key()))];
    let first = world.open("GET", "/admin/spend?group_by=day&format=csv&limit=2", &headers, Vec::new()).await;
    assert_eq!(first.headers()["x-gateway-next"], r#"["20834"]"#);
}

#[tokio::test]
async fn spend_is_exported_as_csv_and_focus() {
    let world = World::new().await;
    let key_id = spent(&world).await;
    let bearer = format!("Bearer {}", world.master_key());
    let headers = [("host", "localhost"), ("authorization", bearer.as_str()), ("accept", "text/csv")];
    let csv = world.send("GET", "/admin/spend?group_by=key,user", &headers, Vec::new()).await.text;
    let mut lines = csv.split("\r\n");
    assert!(lines.next().unwrap().starts_with("key,key_id,user,requests,unpriced_requests,input_tokens,"), "{csv}");
    let line = lines.next().unwrap();
    assert!(line.starts_with(&format!("\"ci,\"\"nightly\"\"\",{key_id},'=cmd(),9,1,900,")), "{line}");
    assert!(line.ends_with(",8000000008,8.000000008,USD,2000000000,2"), "{line}");
    assert!(csv.starts_with("key,") && csv.contains(",cost_usd,currency,saved_nano_usd,saved_usd\r\n"), "{csv}");

    let focus = world.get("/admin/spend?format=focus&from=2027-01-15&to=2027-01-15").await.text;
    let mut lines = focus.trim_end().split("\r\n").map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    // What the specification demands of every row.
    for name in [
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    let rows: Vec<Vec<&str>> = lines.collect();
    // Numbers 0, 3 and 6 are of the key, whose name has a comma in it; 9 is of the one that is gone.
    let gone = rows.iter().find(|row| row.contains(&"vk_gone")).unwrap();
    let cell = |name: &str| gone[names.iter().position(|one| *one == name).unwrap()];
    for (name, expected) in [
        ("BilledCost", "1.000000001"),
        ("BillingPeriodStart", "2027-01-01T00:00:00Z"),
        ("BillingPeriodEnd", "2027-02-01T00:00:00Z"),
        ("ChargePeriodStart", "2027-01-15T00:00:00Z"),
        ("ChargePeriodEnd", "2027-01-16T00:00:00Z"),
        ("BillingAccountId", "org"),
        ("ConsumedQuantity", "110"),
        ("ConsumedUnit", "Tokens"),
        ("ServiceSubcategory", "Generative AI"),
        ("x_User", "'=cmd()"),
        ("x_Requests", "1"),
        ("x_SavedCost", "0.5"),
        ("x_SavedNanoUsd", "500000000"),
    ] {
        assert_eq!(cell(name), expected, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_summed_up_is_refused() {
    let world = World::new().await;
    for query in [
        "group_by=colour",
        "group_by=",
        "group_by=key,key",
        "group_by=key;DROP%20TABLE%20spend_counter",
        "from=soon",
        "to=99999999999999999",
        "from=2027-01-16&to=2027-01-15",
        "limit=0",
        "limit=501",
        "format=csv&limit=10001",
        "format=focus&group_by=key",
        "after=x",
        "group_by=key,model&after=%5B%22a%22%5D",
        "colour=red",
    ] {
        world.get(&format!("/admin/spend?{query}")).await.refused(400, "malformed");
    }
    let nothing = world.get("/admin/spend?key=none&from=-1&to=253402200000000").await.expect(200);
    assert_eq!((&nothing["data"], &nothing["total"]["cost_usd"]), (&json!([]), &json!("0")));
}
