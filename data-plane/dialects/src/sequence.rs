//! Puts interleaved events of the first choice into an order that blocks allow, one after the other: while the arguments of a call are not one whole JSON object,
//! everything that does not belong to the call waits.
//!
//! Upstreams send calls one after the other nearly always; then nothing waits. A call without any arguments is whole only
//! when the reply finishes, since its arguments could still come.

use std::collections::HashSet;

use gateway_ir::event::Event;

/// The most bytes that wait. Beyond, the call is taken to be whole, and what comes for it later is lost.
const MOST_WAITING: usize = 4 << 20;

/// What waits for what.
#[derive(Default)]
pub(crate) struct Sequence {
    /// The call whose arguments are coming.
    current: Option<(u32, Progress)>,
    waiting: Vec<Event>,
    n_waiting_bytes: usize,
    /// Calls that are written and closed.
    closed: HashSet<u32>,
    lost: bool,
}

/// How far a JSON object has come.
#[derive(Clone, Copy, Default)]
struct Progress {
    depth: u32,
    begun: bool,
    in_string: bool,
    escaped: bool,
}

// === impl Sequence ===

impl Sequence {
    /// Takes an event; calls `write` for each whose turn has come.
    pub(crate) fn push(&mut self, event: &Event, write: &mut dyn FnMut(&Event)) {
        if event.choice().is_some_and(|choice| choice != 0) {
            return;
        }
        if matches!(event, Event::Finish { .. }) {
            self.release(write);
            return write(event);
        }
        if !self.is_its_turn(event) {
            self.n_waiting_bytes += size(event);
            self.waiting.push(event.clone());
            if self.n_waiting_bytes > MOST_WAITING {
                self.release(write);
            }
            return;
        }
        self.pass(event, write);
        if self.current.as_ref().is_none_or(|(_, progress)| progress.is_whole()) {
            self.drain(write);
        }
    }

    /// Nothing more will come for any call: everything that waits is written, call by call.
    pub(crate) fn release(&mut self, write: &mut dyn FnMut(&Event)) {
        self.close_current();
        while !self.waiting.is_empty() {
            self.drain(write);
            self.close_current();
        }
    }

    /// Arguments came for a call that had been closed.
    pub(crate) fn lost_arguments(&self) -> bool {
        self.lost
    }

    fn is_its_turn(&self, event: &Event) -> bool {
        match (&self.current, event) {
            (Some((current, _)), Event::ToolCallArguments { call, .. }) if call == current => true,
            (Some((_, progress)), _) => progress.is_whole(),
            (None, _) => true,
        }
    }

    fn pass(&mut self, event: &Event, write: &mut dyn FnMut(&Event)) {
        match event {
            Event::ToolCallArguments { call, json, .. } => {
                if self.closed.contains(call) {
                    self.lost |= !json.trim().is_empty();
                    return;
                }
                match &mut self.current {
                    Some((current, progress)) if current == call => progress.feed(json),
                    _ => {
                        self.close_current();
                        let mut progress = Progress::default();
                        progress.feed(json);
                        self.current = Some((*call, progress));
                    }
                }
            }
            Event::ToolCallStart { call, .. } => {
                self.close_current();
                self.current = Some((*call, Progress::default()));
            }
            _ => self.close_current(),
        }
        write(event);
    }

    /// Writes what waits until the next call that is not whole.
    fn drain(&mut self, write: &mut dyn FnMut(&Event)) {
        let mut passed_any = true;
        while passed_any && !self.waiting.is_empty() {
            passed_any = false;
            let mut still = Vec::new();
            for event in std::mem::take(&mut self.waiting) {
                if (still.is_empty() && self.is_its_turn(&event)) || self.is_current(&event) {
                    self.n_waiting_bytes -= size(&event);
                    self.pass(&event, write);
                    passed_any = true;
                } else {
                    still.push(event);
                }
            }
            self.waiting = still;
        }
    }

    fn is_current(&self, event: &Event) -> bool {
        matches!((&self.current, event), (Some((current, _)), Event::ToolCallArguments { call, .. }) if call == current)
    }

    fn close_current(&mut self) {
        if let Some((call, _)) = self.current.take() {
            self.closed.insert(call);
        }
    }
}

/// Roughly what an event holds in memory.
fn size(event: &Event) -> usize {
    size_of::<Event>()
        + match event {
            Event::Text { text, .. } | Event::Refusal { text, .. } | Event::Reasoning { text, .. } => text.len(),
            Event::ReasoningSignature { signature, .. } => signature.len(),
            Event::RedactedReasoning { data, .. } => data.len(),
            Event::ToolCallStart { id, name, .. } => id.len() + name.len(),
            Event::ToolCallArguments { json, .. } => json.len(),
            Event::Citation { json, .. } | Event::Opaque { json, .. } => json.get().len(),
            _ => 0,
        }
}

// === impl Progress ===

impl Progress {
    fn feed(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}
