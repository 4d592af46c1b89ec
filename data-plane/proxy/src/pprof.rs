//! `/debug/pprof/`: what the process spends its time on, in the format of `go tool pprof`. What cannot be had of this program is
//! refused in words, never answered with an empty profile.

mod heap;
mod profile;
mod tasks;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::body::ReplyBody;

use self::profile::{Profile, Unit};

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Cpu,
    Heap,
    Tasks,
    Block,
    Mutex,
}

/// Takes profiles, one that lasts at a time.
#[derive(Default)]
pub(crate) struct Profiler {
    is_busy: AtomicBool,
    runtimes: Mutex<Vec<(String, tokio::runtime::Handle)>>,
}

/// Frees the place of the profile that is being taken, also when its client leaves.
struct Place<'p>(&'p AtomicBool);

/// Samples per second of processor time: a prime near 100, so that it beats with no timer of the program.
const FREQUENCY: i32 = 99;
const DEFAULT_SECONDS: u64 = 30;
const MAX_SECONDS: u64 = 300;
/// Unwinding from inside of these can wait for a lock that the interrupted code holds.
const NEVER_INSIDE: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

const INDEX: &str = "profile     the processor, ?seconds=30 (at most 300), in pprof's protobuf\n\
    goroutine   the tasks and threads of this process, in pprof's protobuf; ?debug=1 as text\n\
    heap        what is allocated within ?seconds=30 and still held at their end, in pprof's protobuf\n\
    block       refused: see its answer\n\
    mutex       refused: see its answer\n\n\
    go tool pprof http://…/debug/pprof/profile?seconds=10\n";
const NO_HEAP: &str = "this program's allocator takes no samples; /metrics and the fleet view have the resident size";
const NO_BLOCK: &str = "the runtime does not record what its tasks wait for; profile shows where processor time goes, goroutine \
    which tasks there are";
const NO_MUTEX: &str = "locks of this program are plain ones that do not record contention; time spent spinning or waking shows \
    in profile";

/// The profile that a path names.
pub(crate) fn at(path: &str) -> Option<Kind> {
    match path.strip_prefix("/debug/pprof")? {
        "" | "/" => Some(Kind::Index),
        "/profile" => Some(Kind::Cpu),
        "/heap" => Some(Kind::Heap),
        "/goroutine" => Some(Kind::Tasks),
        "/block" => Some(Kind::Block),
        "/mutex" => Some(Kind::Mutex),
        _ => None,
    }
}

// === impl Profiler ===

impl Profiler {
    /// A runtime whose tasks are to be shown.
    pub(crate) fn watch(&self, name: String, runtime: tokio::runtime::Handle) {
        self.runtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((name, runtime));
    }

    /// Those that are watched, by name.
    pub(crate) fn runtimes(&self) -> Vec<(String, tokio::runtime::Handle)> {
        self.runtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) async fn answer(&self, kind: Kind, query: Option<&str>) -> Response<ReplyBody> {
        match kind {
            Kind::Index => text(INDEX.to_owned()),
            Kind::Block => unsupported(NO_BLOCK),
            Kind::Mutex => unsupported(NO_MUTEX),
            Kind::Tasks => self.tasks(query),
            Kind::Cpu => self.cpu(query).await,
            Kind::Heap => self.heap(query).await,
        }
    }

    fn tasks(&self, query: Option<&str>) -> Response<ReplyBody> {
        let dump = tasks::dump(&self.runtimes());
        match parameter(query, "debug") {
            Some("1" | "2") => text(tasks::as_text(&dump)),
            _ => {
                let mut profile = Profile::new(&[Unit { kind: "tasks", unit: "count" }]);
                for line in &dump {
                    profile.add(&line.stack(), &[line.count]);
                }
                protobuf("goroutine", profile.encode())
            }
        }
    }

    async fn heap(&self, query: Option<&str>) -> Response<ReplyBody> {
        let Some(seconds) = seconds(query) else { return no_seconds() };
        let Some(_place) = Place::take(&self.is_busy) else {
            return refused(StatusCode::CONFLICT, "another profile is being taken; ask again when it is done");
        };
        match heap::profile(Duration::from_secs(seconds)).await {
            Some(profile) => protobuf("heap", profile),
            None => unsupported(NO_HEAP),
        }
    }

    async fn cpu(&self, query: Option<&str>) -> Response<ReplyBody> {
        let Some(seconds) = seconds(query) else { return no_seconds() };
        let Some(_place) = Place::take(&self.is_busy) else {
            return refused(StatusCode::CONFLICT, "another profile is being taken; ask again when it is done");
        };
        let guard = pprof::ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&NEVER_INSIDE).build();
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot take a profile");
                return refused(StatusCode::NOT_IMPLEMENTED, "this system does not let the process profile itself");
            }
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let written = tokio::task::spawn_blocking(move || cpu_profile(&guard, seconds)).await;
        match written {
            Ok(Some(profile)) => protobuf("profile", profile),
            _ => refused(StatusCode::INTERNAL_SERVER_ERROR, "the profile could not be written; the log says more"),
        }
    }
}

fn cpu_profile(guard: &pprof::ProfilerGuard<'_>, seconds: u64) -> Option<Bytes> {
    let report = guard.report().build();
    let report = report.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a profile cannot be written");
    });
    const PERIOD_NANOS: i64 = 1_000_000_000 / FREQUENCY as i64;
    let units = [Unit { kind: "samples", unit: "count" }, Unit { kind: "cpu", unit: "nanoseconds" }];
    let mut profile = Profile::new(&units);
    profile.lasted(Duration::from_secs(seconds), PERIOD_NANOS);
    for (frames, n_samples) in report.ok()?.data {
        let stack = frames.frames.iter().flatten().map(pprof::Symbol::name);
        let mut stack: Vec<String> = stack.skip_while(|name| is_of_the_profiler(name)).collect();
        stack.push(frames.thread_name);
        let n_samples = i64::try_from(n_samples).unwrap_or(i64::MAX);
        profile.add(&stack, &[n_samples, n_samples.saturating_mul(PERIOD_NANOS)]);
    }
    Some(profile.encode())
}

/// What stands innermost in every sample of a build that does not inline it: the look itself.
fn is_of_the_profiler(name: &str) -> bool {
    name.starts_with("backtrace::") || name.contains("pprof::backtrace::")
}

// === impl Place ===

impl<'p> Place<'p> {
    fn take(is_busy: &'p AtomicBool) -> Option<Self> {
        (!is_busy.swap(true, Ordering::AcqRel)).then_some(Self(is_busy))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn seconds(query: Option<&str>) -> Option<u64> {
    let seconds = parameter(query, "seconds").map_or(Ok(DEFAULT_SECONDS), str::parse);
    seconds.ok().filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
}

fn no_seconds() -> Response<ReplyBody> {
    refused(StatusCode::BAD_REQUEST, "`seconds` is a number from 1 to 300")
}

fn unsupported(why: &str) -> Response<ReplyBody> {
    refused(StatusCode::NOT_IMPLEMENTED, why)
}

fn refused(status: StatusCode, message: &str) -> Response<ReplyBody> {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "code": null}});
    let mut response = text(body.to_string());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn protobuf(name: &str, profile: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(profile));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(file) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, file);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_look_itself_is_no_part_of_what_is_seen() {
        for (name, expected) in [
            ("backtrace::backtrace::trace_unsynchronized", true),
            ("<pprof::backtrace::backtrace_rs::Trace as pprof::backtrace::Trace>::trace", true),
            ("std::sys::backtrace::__rust_begin_short_backtrace", false),
            ("gateway_proxy::pprof::Profiler::answer", false),
        ] {
            assert_eq!(is_of_the_profiler(name), expected, "{name}");
        }
    }
}
