//! Where to send a request and how to prove who we are: URL, headers, authentication, and which addresses may be called at
//! all. Sans-I/O: nothing here resolves a name or opens a socket.

pub mod destination;
pub mod quirks;
pub mod credential;
pub mod sign;
pub mod endpoint;
