//! The Responses API's memory: what a request goes on from, what is kept of its reply, and the operations on what is kept.

mod items;
mod request;
mod conversation;
mod part;
mod thread;
pub(crate) mod background;
mod stored;
mod talks;
mod frame;
pub(crate) mod socket;

pub(crate) use self::background::{Run, Runs};
pub(crate) use self::conversation::Busy;
pub(crate) use self::stored::answer;
pub(crate) use self::talks::converse;
pub(crate) use self::thread::Thread;
