//! Credentials that are arithmetic over the request, one scheme per file.

pub mod sigv4;
pub mod jwt;
