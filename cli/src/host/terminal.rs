//! The person's terminal: how wide it is, questions to its user, a line that changes while something goes on.

use std::io::{self, IsTerminal, Write};

use gateway_model::secret::Secret;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex};

use super::{say, variable};
use crate::exit::{Exit, Failure};

/// What Ctrl-C is as a character.
const CANCEL: u8 = 3;
/// Longest answer to a question.
const MAX_ANSWER: usize = 64 * 1024;

/// Columns of the terminal that stdout is; `None` where it is none, or does not say.
pub(crate) fn width() -> Option<usize> {
    size().map(|(columns, _)| columns)
}

fn size() -> Option<(usize, usize)> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = termios::tcgetwinsize(&out).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Draws `text` over what the screen shows, without a flicker; what does not fit is counted in the last line.
pub(crate) fn screen(text: &str) -> String {
    let (_, height) = size().unwrap_or((80, 24));
    let lines: Vec<&str> = text.lines().collect();
    let mut drawn = "\x1b[H".to_owned();
    let shown = if lines.len() < height { lines.len() } else { height.saturating_sub(2) };
    for line in &lines[..shown] {
        drawn.push_str(&format!("{line}\x1b[K\n"));
    }
    if shown < lines.len() {
        drawn.push_str(&format!("({} more lines)\x1b[K\n", lines.len() - shown));
    }
    drawn.push_str("\x1b[J");
    drawn
}

/// Whether stdout can be drawn over: a terminal that knows how to.
pub(crate) fn is_screen() -> bool {
    io::stdout().is_terminal() && !is_dumb()
}

fn is_dumb() -> bool {
    variable("TERM").is_some_and(|term| term == "dumb")
}

/// Asks on stderr; `true` for `y` or `yes`. Without a terminal to ask at, nothing is agreed to and the failure names `flag`,
/// which says so beforehand.
pub(crate) fn confirm(question: &str, flag: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "this needs a yes, and there is no terminal to ask at")
            .hint(format!("`{flag}` says it beforehand")));
    }
    // What cannot be asked is not answered.
    let _ = write!(io::stderr(), "{question} [y/N] ").and_then(|()| io::stderr().flush());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A secret: typed without an echo at a terminal, else all of stdin. Never empty; white space around it is dropped.
pub(crate) fn secret(what: &str) -> Result<Secret, Failure> {
    let text = if io::stdin().is_terminal() { typed(what)? } else { piped()? };
    match text.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("no {what} was given"))
            .hint(format!("type or paste the {what} when asked, or send it to stdin"))),
        text => Ok(Secret::new(text)),
    }
}

/// Two secrets, each as [`secret`] has it; from stdin they are two lines.
pub(crate) fn two_secrets(first: &str, second: &str) -> Result<[Secret; 2], Failure> {
    if io::stdin().is_terminal() {
        return Ok([secret(first)?, secret(second)?]);
    }
    let text = piped()?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [one, other] => Ok([Secret::new(*one), Secret::new(*other)]),
        _ => Err(Failure::new(Exit::Usage, format!("stdin must be two lines: the {first}, and the {second}"))),
    }
}

fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX);
    io::Read::read_to_string(&mut io::Read::take(io::stdin(), limit), &mut text).map_err(unreadable)?;
    Ok(text)
}

fn typed(what: &str) -> Result<String, Failure> {
    let terminal = io::stdin();
    let before = termios::tcgetattr(&terminal).map_err(|error| unreadable(error.into()))?;
    let mut silent = before.clone();
    // Ctrl-C ends the line instead of the process: a process that dies here leaves the terminal without an echo.
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    silent.special_codes[SpecialCodeIndex::VEOL] = CANCEL;
    let set = |modes| termios::tcsetattr(&terminal, OptionalActions::Flush, modes);
    set(&silent).map_err(|error| unreadable(error.into()))?;
    let _ = write!(io::stderr(), "{what}: ").and_then(|()| io::stderr().flush());
    let read = line(&mut terminal.lock());
    let restored = set(&before);
    say("");
    restored.map_err(|error| unreadable(error.into()))?;
    let line = read.map_err(unreadable)?;
    if line.contains(&CANCEL) {
        return Err(Failure::new(Exit::Refused, "cancelled; nothing was changed"));
    }
    String::from_utf8(line).map_err(|_| Failure::new(Exit::Usage, format!("a {what} is text")))
}

/// Up to the end of a line, of the input, or to Ctrl-C. A terminal hands out what was typed before each of these.
fn line(input: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let typed = input.fill_buf()?;
        let (length, is_end) =
            (typed.len(), typed.is_empty() || typed.iter().any(|byte| [b'\n', CANCEL].contains(byte)));
        line.extend_from_slice(typed);
        input.consume(length);
        if is_end || line.len() > MAX_ANSWER {
            return Ok(line);
        }
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Exit::Refused, format!("cannot read from stdin: {error}"))
}

/// A line on stderr that says how far something is. Silent where stderr is no terminal; gone when it is dropped.
pub(crate) struct Progress {
    is_shown: bool,
}

// === impl Progress ===

impl Progress {
    /// `None` where nobody would see it.
    pub(crate) fn start() -> Option<Self> {
        (io::stderr().is_terminal() && !is_dumb()).then_some(Self { is_shown: false })
    }

    /// Replaces what the line said before.
    pub(crate) fn show(&mut self, line: &str) {
        let columns = termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        // A terminal that does not say is taken for a usual one. The cursor stays in the line.
        let line: String = line.chars().take(if columns == 0 { 79 } else { columns - 1 }).collect();
        // Talk that cannot be delivered has no other place to go.
        let _ = write!(io::stderr(), "\r{line}\x1b[K").and_then(|()| io::stderr().flush());
        self.is_shown = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            // As above.
            let _ = write!(io::stderr(), "\r\x1b[K").and_then(|()| io::stderr().flush());
        }
    }
}
