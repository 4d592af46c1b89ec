//! Puts streamed tool calls together by identity: which call a piece belongs to, and when a call has begun.
//!
//! Servers disagree on that. OpenAI numbers calls with `index` and names them once; others leave the index out, give every
//! call the same one, or repeat id and name with every piece.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use crate::call_id::call_id;
use crate::reading::{Shape, garbage, members_of, text, unsigned};

/// More calls in one choice than any server makes.
const MAX_CALLS: usize = 1024;
/// A call is told without a name rather than holding more of its arguments, in bytes.
const MAX_HELD: usize = 64 << 10;

/// The calls of one choice, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    /// The upstream's own number, id and name, where it gave them.
    index: Option<u64>,
    id: String,
    name: String,
    begun: bool,
    /// Arguments that came before the name.
    held: String,
}

/// One element of `tool_calls`.
#[derive(Default)]
struct Piece {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

// === impl Calls ===

impl Calls {
    /// One element of `tool_calls`: a piece of a call in a chunk, else a whole one.
    pub(super) fn read(
        &mut self,
        raw: &RawValue,
        shape: Shape,
        choice: u32,
        events: &mut Vec<Event>,
    ) -> Result<(), Box<Failure>> {
        let piece = Piece::read(raw);
        let known = match shape {
            Shape::Whole => None,
            Shape::Chunk => self.find(&piece),
        };
        self.take(known, piece, choice, events)
    }

    /// `function_call`, of which there is one.
    pub(super) fn read_legacy(
        &mut self,
        raw: &RawValue,
        choice: u32,
        events: &mut Vec<Event>,
    ) -> Result<(), Box<Failure>> {
        let mut piece = Piece::default();
        piece.read_function(raw);
        let known = self.0.len().checked_sub(1);
        self.take(known, piece, choice, events)
    }

    /// No more pieces will come: calls that still wait for their name begin without one.
    pub(super) fn settle(&mut self, choice: u32, events: &mut Vec<Event>) {
        for position in 0..self.0.len() {
            self.begin(position, choice, events);
        }
    }

    fn find(&self, piece: &Piece) -> Option<usize> {
        let agrees = |call: &Call| piece.id.is_empty() || call.id.is_empty() || call.id == piece.id;
        match piece.index {
            Some(_) => {
                self.0.iter().rposition(|call| call.index == piece.index).filter(|found| agrees(&self.0[*found]))
            }
            None if !piece.id.is_empty() => self.0.iter().rposition(|call| call.id == piece.id),
            // Neither number nor id: a name begins a call, anything else goes on with the last one.
            None if !piece.name.is_empty() => None,
            None => self.0.len().checked_sub(1),
        }
    }

    fn take(
        &mut self,
        known: Option<usize>,
        piece: Piece,
        choice: u32,
        events: &mut Vec<Event>,
    ) -> Result<(), Box<Failure>> {
        let position = match known {
            Some(position) => position,
            // Nothing that could begin a call.
            None if piece.id.is_empty() && piece.name.is_empty() && piece.arguments.is_empty() => return Ok(()),
            None if self.0.len() == MAX_CALLS => return Err(garbage("the upstream's reply has too many tool calls")),
            None => {
                self.0.push(Call { index: piece.index, ..Call::default() });
                self.0.len() - 1
            }
        };
        let call = &mut self.0[position];
        if call.id.is_empty() {
            call.id = piece.id;
        }
        if call.name.is_empty() {
            call.name = piece.name;
        }
        call.held.push_str(&piece.arguments);
        if !call.name.is_empty() || call.begun || call.held.len() > MAX_HELD {
            self.begin(position, choice, events);
        }
        Ok(())
    }

    /// Tells the beginning if it was not told, and what is held.
    fn begin(&mut self, position: usize, choice: u32, events: &mut Vec<Event>) {
        let call = &mut self.0[position];
        let number = position as u32;
        if !std::mem::replace(&mut call.begun, true) {
            let id = if call.id.is_empty() {
                call_id(&[&call.name, &choice.to_string(), &number.to_string()])
            } else {
                call.id.clone()
            };
            events.push(Event::ToolCallStart { choice, call: number, id, name: call.name.clone() });
        }
        if !call.held.is_empty() {
            events.push(Event::ToolCallArguments { choice, call: number, json: std::mem::take(&mut call.held) });
        }
    }
}

// === impl Piece ===

impl Piece {
    fn read(raw: &RawValue) -> Self {
        let mut piece = Self::default();
        members_of(raw, |name, value| match name {
            "index" => piece.index = unsigned(value),
            "id" => piece.id = text(value).filter(|id| id != "null").unwrap_or_default().into_owned(),
            "function" => piece.read_function(value),
            _ => {}
        });
        piece
    }

    /// Arguments are a text that holds JSON; some servers send the JSON itself.
    fn read_function(&mut self, raw: &RawValue) {
        members_of(raw, |name, value| match name {
            "name" => self.name = text(value).unwrap_or_default().into_owned(),
            "arguments" => match text(value) {
                Some(arguments) => self.arguments = arguments.into_owned(),
                None if value.get().starts_with(['{', '[']) => self.arguments = value.get().to_owned(),
                None => {}
            },
            _ => {}
        });
    }
}
