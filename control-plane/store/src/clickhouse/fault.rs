//! What a ClickHouse answers when it does not do what it was asked. Its own words are left out: they repeat statements and values.

use crate::error::Error;

/// Why a call failed. Cheap enough to be told to all whose rows went together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{place} does not answer: {told}")]
    Away { place: String, told: String },
    #[error("{place} refuses access with code {code}")]
    Refused { place: String, code: u32 },
    /// A question was stopped.
    #[error("time was up")]
    TimeUp,
    /// Somebody has taken it away.
    #[error("the table is not there")]
    NoTable,
    #[error("{place} fails with code {code}; its own log says more")]
    Failed { place: String, code: u32 },
}

/// Numbers of ClickHouse's, which never change their meaning.
const NO_TABLE: u32 = 60;
const NO_DATABASE: u32 = 81;
const TIME_UP: u32 = 159;
/// Of tables, of users, of passwords, of databases, of all of these.
const ACCESS: [u32; 6] = [192, 193, 194, 291, 497, 516];

// === impl Fault ===

impl Fault {
    /// By what begins with `Code: 60`.
    pub(super) fn of_answer(place: &str, answer: &[u8]) -> Self {
        let answer = String::from_utf8_lossy(answer);
        let digits = answer.split_once("Code: ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
        let code = digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or_default();
        match code {
            NO_TABLE => Self::NoTable,
            TIME_UP => Self::TimeUp,
            _ if code == NO_DATABASE || ACCESS.contains(&code) => Self::Refused { place: place.to_owned(), code },
            _ => Self::Failed { place: place.to_owned(), code },
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Away { .. } => Self::LogsAway(Box::new(fault)),
            Fault::Refused { .. } => Self::LogsRefused(Box::new(fault)),
            // As where another database stops a question.
            Fault::TimeUp => Self::Slow,
            Fault::NoTable | Fault::Failed { .. } => Self::LogsFailed(Box::new(fault)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_by_their_numbers() {
        let place = || "h:1/d".to_owned();
        for (answer, expected) in [
            ("Code: 60, e.displayText() = DB::Exception: Table default.t doesn't exist.", Fault::NoTable),
            ("Code: 159. DB::Exception: Timeout exceeded: elapsed 4.1 seconds", Fault::TimeUp),
            ("Code: 516. DB::Exception: default: Authentication failed", Fault::Refused { place: place(), code: 516 }),
            ("Code: 252. DB::Exception: Too many parts (300)", Fault::Failed { place: place(), code: 252 }),
            ("<html>bad gateway</html>", Fault::Failed { place: place(), code: 0 }),
        ] {
            assert_eq!(Fault::of_answer("h:1/d", answer.as_bytes()), expected);
        }
    }
}
