//! Usage of what is no conversation, on recorded traffic: what was charged is read from every reply that says it.

use bytes::Bytes;
use gateway_dialects::dialect::StreamTap as _;
use gateway_dialects::registry;
use gateway_dialects::task_events::Events;
use gateway_ir::task::Task;
use gateway_ir::usage::{Units, Usage};
use serde_json::Value;

use crate::recorded::{Fixture, fixtures};

/// Those that were answered.
fn answered(folder: &str) -> impl Iterator<Item = Fixture> {
    fixtures(folder).into_iter().filter(|fixture| fixture.status < 400)
}

fn usage_of(fixture: &Fixture, task: Task) -> Usage {
    registry::family(task).usage_of_reply(fixture.reply.as_bytes()).unwrap_or_default()
}

fn said(fixture: &Fixture) -> Value {
    serde_json::from_str(&fixture.reply).expect("JSON")
}

/// A count at a path of the reply, if it says one.
fn count(said: &Value, path: &str) -> Option<u64> {
    said.pointer(path).and_then(Value::as_u64)
}

#[test]
fn recorded_pictures_are_counted() {
    for fixture in answered("openai-images") {
        let (said, used) = (said(&fixture), usage_of(&fixture, Task::Images));
        let n_pictures = said["data"].as_array().map(Vec::len).expect("pictures");
        assert_eq!(used.units, Units::PicturesMade(n_pictures as u64), "{}", fixture.id);
        let output = count(&said, "/usage/output_tokens").unwrap_or(0);
        let drawn = count(&said, "/usage/output_tokens_details/image_tokens").unwrap_or(output);
        let seen = count(&said, "/usage/input_tokens_details/image_tokens").unwrap_or(0);
        let expected = (count(&said, "/usage/input_tokens").unwrap_or(0), seen, output, drawn);
        assert_eq!((used.prompt(), used.input_image, used.output, used.output_image), expected, "{}", fixture.id);
    }
}

#[test]
fn recorded_speech_and_transcripts_are_counted() {
    for fixture in answered("openai-audio") {
        if let Some(spoken) = fixture.request["input"].as_str() {
            let units = registry::family(Task::Speech).units_of_request(fixture.request.to_string().as_bytes());
            assert_eq!(units, Units::Characters(spoken.chars().count() as u64), "{}", fixture.id);
            continue;
        }
        let (told, used) = if fixture.reply.starts_with('{') {
            (said(&fixture), usage_of(&fixture, Task::Transcriptions))
        } else if fixture.stream {
            let mut tap = Events::new(Some(registry::family(Task::Transcriptions)));
            tap.push(Bytes::from(fixture.reply.clone())).expect("small events");
            tap.finish().unwrap_or_else(|failure| panic!("{}: {failure}", fixture.id));
            let mut data = fixture.reply.lines().filter_map(|line| line.strip_prefix("data: "));
            let last = data.rfind(|data| data.contains("\"usage\"")).unwrap_or("{}");
            (serde_json::from_str(last).expect("JSON"), tap.seen().usage.unwrap_or_default())
        } else {
            continue;
        };
        if let Some(total) = count(&told, "/usage/total_tokens") {
            assert_eq!(used.total(), total, "{}", fixture.id);
            assert!(used.input_audio > 0, "{}: {used:?}", fixture.id);
        }
        let seconds = ["/usage/seconds", "/usage/prompt_audio_seconds", "/duration"];
        let seconds = seconds.iter().find_map(|path| told.pointer(path)?.as_f64());
        let expected = seconds.map_or(Units::None, |seconds| Units::AudioMs((seconds * 1000.0).round() as u64));
        assert_eq!(used.units, expected, "{}", fixture.id);
    }
}

#[test]
fn recorded_rankings_and_embeddings_are_counted() {
    let folders = [("rerank", Task::Rerank), ("cohere-rerank", Task::Rerank), ("cohere-embed", Task::Embeddings)];
    for (folder, task) in folders {
        for fixture in answered(folder) {
            let (said, used) = (said(&fixture), usage_of(&fixture, task));
            let units =
                match (count(&said, "/meta/billed_units/search_units"), count(&said, "/meta/billed_units/images")) {
                    (Some(searches), _) => Units::Searches(searches),
                    (None, Some(pictures)) => Units::PicturesRead(pictures),
                    (None, None) => Units::None,
                };
            let tokens = ["/usage/total_tokens", "/meta/billed_units/input_tokens"];
            let tokens = tokens.iter().find_map(|path| count(&said, path)).unwrap_or(0);
            assert_eq!((used.units, used.prompt()), (units, tokens), "{}", fixture.id);
        }
    }
}
