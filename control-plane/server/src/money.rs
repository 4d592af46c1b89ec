//! Nano-dollars as people and programs read them, and back. Sums are made of the integers only.

const NANO: u64 = 1_000_000_000;

/// Exact: `1.5`, `0.000000001`, `-2`, `0`.
pub(crate) fn usd(nano: i64) -> String {
    let (whole, rest) = (nano.unsigned_abs() / NANO, nano.unsigned_abs() % NANO);
    let sign = if nano < 0 { "-" } else { "" };
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    let rest = format!("{rest:09}");
    format!("{sign}{whole}.{}", rest.trim_end_matches('0'))
}

/// The nearest number to [`usd`].
pub(crate) fn number(nano: i64) -> f64 {
    usd(nano).parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        for (nano, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (-1, "-0.000000001"),
            (1_500_000_000, "1.5"),
            (-2_000_000_000, "-2"),
            (10_000_000_010, "10.00000001"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(usd(nano), text);
            assert!((number(nano) - text.parse::<f64>().expect("a number")).abs() < f64::EPSILON);
        }
    }
}
