//! Tests of the whole dialect through its trait. Cases are data; recorded traffic is read from the shared folder where there is one.

mod support;
mod request;
mod cross;
mod reply;
mod stream;
mod property;
mod recorded;
