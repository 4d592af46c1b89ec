//! Days and hours, against a time that is given.

use std::fmt;

use gateway_model::kind::route::{Day, Times};

/// Compiled [`Times`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// A bit for each day, Monday's the lowest.
    days: u8,
    /// Minutes of the day; with `to` before `from` the window passes midnight.
    from: i64,
    to: i64,
    /// Minutes east of UTC.
    offset: i64,
}

const DAY: i64 = 24 * 60;

// === impl Clock ===

/// As a configuration has it.
impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let days = NAMES.iter().enumerate().filter(|(day, _)| self.days >> day & 1 == 1).map(|(_, name)| *name);
        let time = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let days = if self.days == 0x7f { "every day".to_owned() } else { days.collect::<Vec<_>>().join(" ") };
        let sign = if self.offset < 0 { '-' } else { '+' };
        write!(f, "{days} {} to {} UTC{sign}{}", time(self.from), time(self.to), time(self.offset.abs()))
    }
}

impl Clock {
    pub(crate) fn new(times: &Times) -> Self {
        let bits = times.days.iter().map(|day: &Day| 1 << (*day as u8));
        let (from, to) = times.window();
        Self {
            days: if times.days.is_empty() { 0x7f } else { bits.fold(0, |all, bit: u8| all | bit) },
            from: from.0.into(),
            to: to.0.into(),
            offset: times.utc_offset.unwrap_or_default().0.into(),
        }
    }

    pub(super) fn holds(&self, unix_ms: i64) -> bool {
        let minutes = unix_ms.div_euclid(60_000) + self.offset;
        let (day, minute) = (minutes.div_euclid(DAY), minutes.rem_euclid(DAY));
        // The first of January 1970 was a Thursday.
        let is_day = |day: i64| self.days >> (day + 3).rem_euclid(7) & 1 == 1;
        if self.from < self.to {
            return is_day(day) && (self.from..self.to).contains(&minute);
        }
        is_day(day) && minute >= self.from || is_day(day - 1) && minute < self.to
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::kind::route::{Offset, TimeOfDay};

    use super::*;

    /// 2027-01-15, a Friday, 00:00 UTC.
    const FRIDAY: i64 = 1_799_971_200_000;
    const HOUR: i64 = 3_600_000;

    fn clock(days: &[Day], from: u16, to: u16, offset: i16) -> Clock {
        let time = |hours: u16| Some(TimeOfDay(hours * 60));
        Clock::new(&Times {
            days: days.to_vec(),
            from: time(from),
            to: time(to),
            utc_offset: Some(Offset(offset * 60)),
        })
    }

    #[test]
    fn hours_of_days() {
        use Day::{Fri, Mon, Sat, Thu, Tue, Wed};
        let weekdays = [Mon, Tue, Wed, Thu, Fri];
        let cases = [
            (clock(&weekdays, 8, 18, 0), FRIDAY + 8 * HOUR, true),
            (clock(&weekdays, 8, 18, 0), FRIDAY + 8 * HOUR - 1, false),
            (clock(&weekdays, 8, 18, 0), FRIDAY + 18 * HOUR - 1, true),
            (clock(&weekdays, 8, 18, 0), FRIDAY + 18 * HOUR, false),
            (clock(&weekdays, 8, 18, 0), FRIDAY + 34 * HOUR, false),
            (clock(&[Sat], 0, 24, 0), FRIDAY + 24 * HOUR, true),
            (clock(&[Sat], 0, 24, 2), FRIDAY + 22 * HOUR, true),
            (clock(&[Fri], 0, 24, -5), FRIDAY + 24 * HOUR, true),
            (clock(&[Fri], 0, 24, -5), FRIDAY, false),
            (clock(&[Fri], 22, 6, 0), FRIDAY + 23 * HOUR, true),
            (clock(&[Fri], 22, 6, 0), FRIDAY + 29 * HOUR, true),
            (clock(&[Fri], 22, 6, 0), FRIDAY + 30 * HOUR, false),
            (clock(&[Fri], 22, 6, 0), FRIDAY + 5 * HOUR, false),
            (clock(&[], 8, 18, 0), -HOUR * 12, true),
        ];
        for (clock, unix_ms, expected) in cases {
            assert_eq!(clock.holds(unix_ms), expected, "{clock:?} at {unix_ms}");
        }
    }
}
