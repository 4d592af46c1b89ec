//! Addresses where nobody serves: one that refuses connections, one that never answers them.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A port that is taken and where nobody serves. Dropping it frees the port.
#[derive(Debug)]
pub struct Dead {
    addr: SocketAddr,
    _holds: Holds,
}

#[derive(Debug)]
enum Holds {
    /// Bound and not listening: the kernel refuses.
    Bound { _socket: TcpSocket },
    /// Listening with a full queue: the kernel drops who knocks.
    Full { _listener: TcpListener, _queued: Vec<TcpStream> },
}

// === impl Dead ===

impl Dead {
    /// Connections are refused at once.
    pub fn refusing() -> Self {
        let (socket, addr) = bound();
        Self { addr, _holds: Holds::Bound { _socket: socket } }
    }

    /// Connections are neither accepted nor refused, as behind a firewall that drops.
    pub async fn silent() -> Self {
        // Linux queues one more than it is told.
        const QUEUE: u32 = 1;
        let (socket, addr) = bound();
        let listener = socket.listen(QUEUE).expect("a bound socket can listen");
        let mut queued = Vec::new();
        for _ in 0..=QUEUE {
            queued.push(TcpStream::connect(addr).await.expect("there is room in the queue"));
        }
        Self { addr, _holds: Holds::Full { _listener: listener, _queued: queued } }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn bound() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free loopback port");
    let addr = socket.local_addr().expect("a bound socket has an address");
    (socket, addr)
}
