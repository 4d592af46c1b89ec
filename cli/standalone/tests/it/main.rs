//! Both planes as they are, the fleet channel between them, a real store behind: what is written arrives and is answered for.

mod channel;
mod deployments;
mod keys;
mod joining;
mod openapi;
mod operators;
