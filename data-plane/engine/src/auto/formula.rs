//! What in a text is code or mathematics by its form, whatever its language.

/// Signs that hardly anybody writes but in mathematics.
const SIGNS: &str = "∑∫√∂∇∞≈≡∈∉∀∃⊂⊆∪∩∝∏∮∴";
/// Bytes of a line on each side of an `=` in which an operator makes an equation of it.
const NEAR: usize = 48;

/// Whether a fence opens code.
pub(super) fn has_fence(text: &str) -> bool {
    text.lines().any(|line| is_fence(line.trim_start()))
}

fn is_fence(line: &str) -> bool {
    line.starts_with("```") || line.starts_with("~~~")
}

/// Whether there is a formula outside of fences: a sign of mathematics, a power, a sum or product of numbers, or an equation. A
/// lone `=` is none, and neither are dates, options and addresses.
pub(super) fn is_in(text: &str) -> bool {
    let mut is_code = false;
    for line in text.lines() {
        if is_fence(line.trim_start()) {
            is_code = !is_code;
        } else if !is_code && is_line(line) {
            return true;
        }
    }
    false
}

fn is_line(line: &str) -> bool {
    if !line.is_ascii() && line.contains(|c| SIGNS.contains(c)) {
        return true;
    }
    let mut signs = line.char_indices().filter(|(_, c)| matches!(c, '^' | '*' | '+' | '×' | '÷' | '='));
    signs.any(|(at, sign)| {
        let (before, behind) = (&line[..at], &line[at + sign.len_utf8()..]);
        match sign {
            '^' => is_power(before, behind),
            '=' => is_equation(before, behind),
            _ => is_number_end(before) && behind.trim_start().starts_with(|c: char| c.is_ascii_digit()),
        }
    })
}

fn is_power(before: &str, behind: &str) -> bool {
    before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ')')
        && behind.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '(' | '{' | '-'))
}

fn is_number_end(before: &str) -> bool {
    before.trim_end().ends_with(|c: char| c.is_ascii_digit())
}

/// Something on both sides, and near by an operator between two terms, and a digit.
fn is_equation(before: &str, behind: &str) -> bool {
    if before.ends_with(['=', '<', '>', '!', ':', '+', '-', '*', '/']) || behind.starts_with(['=', '>']) {
        return false;
    }
    if before.trim().is_empty() || behind.trim().is_empty() {
        return false;
    }
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    if word.starts_with('-') || word.contains("://") || word.contains(['?', '&', '"', '<']) {
        return false;
    }
    let before = &before[boundary(before, before.len().saturating_sub(NEAR))..];
    let behind = &behind[..boundary(behind, NEAR.min(behind.len()))];
    let has_digit = [before, behind].iter().any(|side| side.contains(|c: char| c.is_ascii_digit() || c == '²'));
    has_digit && (has_operation(before) || has_operation(behind))
}

/// `2x + 3`, `a*b`, `(n - 1)/2`: what stands beside the operator are numbers, single letters or brackets.
fn has_operation(side: &str) -> bool {
    side.char_indices().filter(|(_, c)| matches!(c, '+' | '-' | '*' | '/' | '−')).any(|(at, sign)| {
        let (before, behind) = (side[..at].trim_end(), side[at + sign.len_utf8()..].trim_start());
        let mut left = before.chars().rev();
        let mut right = behind.chars();
        is_term(left.next(), left.next()) && is_term(right.next(), right.next())
    })
}

/// The character next to an operator, and the one behind it.
fn is_term(near: Option<char>, far: Option<char>) -> bool {
    match near {
        Some('(' | ')' | '²' | '³') => true,
        Some(c) if c.is_ascii_digit() => true,
        // One letter, or one with a number: `x`, `2x`, `x2`.
        Some(c) if c.is_alphabetic() => !far.is_some_and(char::is_alphabetic),
        _ => false,
    }
}

/// The first beginning of a character from `at` on.
fn boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_known_by_their_form() {
        let formulas = [
            "what is 17*23?",
            "3 + 4",
            "solve 2x + 3 = 7",
            "x² + 5x + 6 = 0",
            "f(x) = (n - 1)/2",
            "x^2",
            "e^{i}",
            "∫ f dx",
            "计算12×7",
            "y = 3*x",
        ];
        let others = [
            "",
            "=",
            "a = b",
            "set NAME=value",
            "if a == 1 or b != 2",
            "born 12/05/2024, open 24/7",
            "https://example.com/a-1?b=c-2&d=3",
            "run it with --max-size=10-20",
            "C++ and notepad++",
            "^_^ well-known = good",
            "x => x + 1",
            "+49 30 123",
            "```\nx = 2 + 3\n```\nwhat is it?",
        ];
        for text in formulas {
            assert!(is_in(text), "{text}");
        }
        for text in others {
            assert!(!is_in(text), "{text}");
        }
    }
}
