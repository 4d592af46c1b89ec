//! Where to send a request and how to prove who we are: URL, headers, authentication. Sans-I/O.
