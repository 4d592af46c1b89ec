//! How long who has refused is left alone, by the kind of refusal: from what vendors say in their codes and in words.

use std::time::Duration;

use gateway_ir::failure::{Code, Failure};

const MINUTE: Duration = Duration::from_secs(60);
/// A request refused our credential: somebody has to act, which takes a while.
const AFTER_CREDENTIAL: Duration = Duration::from_secs(120);
/// A vendor that has no room for anybody has some soon.
const AFTER_OVERLOAD: Duration = Duration::from_secs(30);
/// A limit without a word about what it counts: a minute, mostly.
const AFTER_QUOTA: Duration = MINUTE;
/// What was paid for, or is granted, is used up.
const AFTER_ALLOWANCE: Duration = Duration::from_secs(5 * 60);
/// A day's limit: nobody knows when the vendor's day ends.
const AFTER_DAY: Duration = Duration::from_secs(30 * 60);
/// Nobody's word keeps us away for longer, unless the kind of limit does.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Codes of Z.AI's plans, <https://docs.z.ai/api-reference/api-code>: five hours' use, a week's or a month's.
const OF_PLANS: [(&str, Duration); 2] =
    [("1308", Duration::from_secs(5 * 60 * 60)), ("1310", Duration::from_secs(60 * 60))];
const OF_DAYS: [&str; 6] = ["per day", "perday", "daily", "(rpd)", "(tpd)", "a day"];
const OF_ALLOWANCES: [&str; 6] =
    ["current quota", "insufficient_quota", "insufficient quota", "billing", "credit balance", "usage limit"];
const OF_OVERLOAD: [&str; 4] = ["overloaded", "at capacity", "no capacity", "capacity exceeded"];

/// How long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    For(Duration),
    /// Longer with each refusal in a row.
    Growing,
}

/// `None`: it asks for none.
pub(super) fn of(failure: &Failure) -> Option<Pause> {
    let kind = match failure.code {
        Code::UpstreamCredential => return Some(Pause::For(AFTER_CREDENTIAL)),
        Code::UpstreamRateLimited => of_limit(failure),
        Code::UpstreamOverloaded => Some(AFTER_OVERLOAD),
        Code::UpstreamError if failure.status == 503 && says(failure, &OF_OVERLOAD) => Some(AFTER_OVERLOAD),
        _ => return None,
    };
    Some(match (failure.retry_after, kind) {
        (Some(said), kind) => Pause::For(said.min(kind.unwrap_or_default().max(LONGEST))),
        (None, Some(kind)) => Pause::For(kind),
        (None, None) => Pause::Growing,
    })
}

/// What is used up, where it is more than the pace.
fn of_limit(failure: &Failure) -> Option<Duration> {
    let code = failure.upstream_code.as_deref().unwrap_or_default();
    if let Some((_, pause)) = OF_PLANS.iter().find(|(plan, _)| *plan == code) {
        return Some(*pause);
    }
    let is_quota =
        || [&failure.upstream_code, &failure.upstream_type].into_iter().flatten().any(|word| word.contains("quota"));
    if says(failure, &OF_DAYS) {
        Some(AFTER_DAY)
    } else if says(failure, &OF_ALLOWANCES) {
        Some(AFTER_ALLOWANCE)
    } else {
        is_quota().then_some(AFTER_QUOTA)
    }
}

fn says(failure: &Failure, words: &[&str]) -> bool {
    let message = failure.message.to_ascii_lowercase();
    words.iter().any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, code: &str, message: &'static str) -> Failure {
        let upstream_code = (!code.is_empty()).then(|| code.to_owned());
        Failure { upstream_code, ..Failure::from_upstream_status(status, message) }
    }

    #[test]
    fn by_kind_of_refusal() {
        let seconds = |n| Some(Pause::For(Duration::from_secs(n)));
        let cases = [
            (401, "", "wrong key", seconds(120)),
            (403, "", "not for you", seconds(120)),
            (429, "", "slow down", Some(Pause::Growing)),
            (429, "rate_limit_exceeded", "Rate limit reached for requests per min", Some(Pause::Growing)),
            (429, "insufficient_quota", "no more", seconds(60)),
            (429, "insufficient_quota", "You exceeded your current quota, please check your plan", seconds(300)),
            (429, "", "Your credit balance is too low", seconds(300)),
            (429, "", "Rate limit reached on tokens per day (TPD): Limit 100000", seconds(1800)),
            (429, "", "Quota exceeded for GenerateRequestsPerDayPerProjectPerModel", seconds(1800)),
            (429, "1308", "Usage limit reached for 5 hour", seconds(5 * 3600)),
            (429, "1310", "Weekly limit exhausted", seconds(3600)),
            (529, "", "Overloaded", seconds(30)),
            (503, "", "The model is overloaded. Please try again later.", seconds(30)),
            (503, "", "out of order", None),
            (500, "", "overloaded", None),
            (400, "1308", "no", None),
        ];
        for (status, code, message, expected) in cases {
            assert_eq!(of(&failure(status, code, message)), expected, "{status} {code} {message}");
        }
    }

    #[test]
    fn their_own_word_goes_before_ours_within_bounds() {
        for (status, message, said, expected) in [
            (429, "slow down", 7, 7),
            (429, "slow down", 7000, 300),
            (429, "tokens per day", 7, 7),
            (429, "tokens per day", 7000, 1800),
            (529, "Overloaded", 4, 4),
            (401, "wrong key", 4, 120),
        ] {
            let failure = failure(status, "", message).with_retry_after(Some(Duration::from_secs(said)));
            assert_eq!(of(&failure), Some(Pause::For(Duration::from_secs(expected))), "{status} {message} {said}");
        }
    }
}
