//! What charts are drawn from.

use gateway_store::logs::LogRow;
use gateway_store::traffic::{Sample, Try};
use gateway_store::usage::Sender;
use serde_json::Value;

use crate::world::World;

fn row(number: u32, failed: bool) -> LogRow {
    let tries =
        |provider: &str, failed| Try { provider: provider.to_owned(), failed, refused: false, total_us: 50_000 };
    let mut attempts = vec![tries("second", false)];
    if failed {
        attempts = vec![tries("first", true), tries("second", true)];
    }
    LogRow {
        id: format!("r{number:04}"),
        started_ms: gateway_server::clock::unix_ms(),
        provider: "second".to_owned(),
        status: if failed { 502 } else { 200 },
        record: "{}".to_owned(),
        sample: Some(Sample {
            failed,
            input: 10,
            output: 5,
            cost_nano_usd: 7,
            first_byte_us: 20_000,
            total_us: 100_000 * u64::from(number),
            attempts,
            ..Sample::default()
        }),
        ..LogRow::default()
    }
}

#[tokio::test]
async fn charts_are_drawn_from_sums_that_count_each_request_once() {
    let world = World::new().await;
    let app = world.control.app();
    let rows: Vec<LogRow> = (1..=20).map(|number| row(number, number % 10 == 0)).collect();
    let from = Sender { node: "n", boot: "b", at_ms: gateway_server::clock::unix_ms() };
    for (first, batch) in [(1, &rows[..12]), (1, &rows[..12]), (13, &rows[12..]), (5, &rows[4..])] {
        app.store.ingest_logs(from, first, batch, 0).await.unwrap();
    }
    for window in ["1h", "6h", "24h", "3d"] {
        let traffic = world.get(&format!("/admin/traffic?window={window}")).await.expect(200);
        let sum = &traffic["sum"];
        for (field, expected) in [
            ("requests", 20),
            ("failed", 2),
            ("refused", 0),
            ("input_tokens", 200),
            ("output_tokens", 100),
            ("cost_nano_usd", 140),
        ] {
            assert_eq!(sum[field], expected, "{window} {field}");
        }
        let p50 = sum["total"]["p50_us"].as_u64().unwrap();
        assert!((900_000..=1_100_000).contains(&p50), "{p50}");
        let points = traffic["data"].as_array().unwrap();
        assert!((50..=110).contains(&points.len()), "{window}: {} points", points.len());
        let of_points: u64 = points.iter().filter_map(|point| point["requests"].as_u64()).sum();
        assert_eq!(of_points, 20);
        let providers = traffic["providers"].as_array().unwrap();
        let told: Vec<(&str, u64, u64)> = providers
            .iter()
            .map(|row| {
                (row["provider"].as_str().unwrap(), row["requests"].as_u64().unwrap(), row["failed"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(told, [("first", 2, 2), ("second", 20, 2)], "each attempt counts for whom it asked");
    }
    let of_one = world.get("/admin/traffic?provider=first").await.expect(200);
    assert_eq!((&of_one["sum"]["requests"], &of_one["sum"]["input_tokens"]), (&Value::from(2), &Value::from(0)));
    world.get("/admin/traffic?window=1y").await.refused(400, "malformed");
}
