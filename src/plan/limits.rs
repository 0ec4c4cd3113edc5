//! Sizes and times, with their defaults, each with its reason.

use std::time::Duration;

/// Size and limits of the worker pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Workers that are always there.
    pub min: usize,
    /// Workers at most; more than `min` start when requests wait.
    pub max: usize,
    /// Requests that may wait for a worker; one more is answered 503.
    pub queue: usize,
    /// Recycle a worker after so many calls.
    pub max_calls: u64,
    /// Recycle a worker of this age.
    pub max_age: Duration,
    /// Recycle a worker that uses more resident memory than this, in bytes.
    pub max_memory: u64,
    /// How long a worker may take from launch to ready, vault set-up included.
    pub start_limit: Duration,
}

/// Limits of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the request's head to the answer.
    pub deadline: Duration,
    /// Extra time for a write that has begun, before its worker is killed; the client has had its 504.
    pub write_grace: Duration,
    /// How long a stop takes at most: requests in flight, vaults and workers.
    pub drain: Duration,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Connections of a listener at once.
    pub max_connections: usize,
    /// Of these, connections of one peer: an address, or a user of a Unix socket.
    pub max_connections_per_peer: usize,
    /// Time for a client that has connected to send its first byte.
    pub first_byte_timeout: Duration,
    /// Time for a client to send a request's head, from its first byte to its last.
    pub header_timeout: Duration,
    /// Time between requests of a connection, with the head of the next; never less than `header_timeout`.
    pub idle_timeout: Duration,
    /// What a body may hold.
    pub body: BodyLimits,
}

/// How much a body may hold, whatever its size: what a parser makes of it is bounded by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Fields of a form or of a query, and columns of a row.
    pub max_fields: usize,
    /// Parts of a multipart form.
    pub max_parts: usize,
    /// Objects in objects, and elements in elements.
    pub max_depth: usize,
    /// Digits of a number.
    pub max_digits: usize,
    /// Rows of a table.
    pub max_rows: usize,
    /// Values of JSON, elements and attributes of XML, cells of a table.
    pub max_values: usize,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        // One per core keeps cores busy; past four, memory (about 200 MB each) costs more than it gains.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
        PoolLimits {
            min: cores,
            max: cores,
            queue: 256,
            // Static caches of the engine are never freed (PowerShell#21459), so no worker lives for ever.
            max_calls: 100_000,
            max_age: Duration::from_secs(12 * 60 * 60),
            max_memory: 1024 * 1024 * 1024,
            // Az.Accounts alone may take 10 s on a cold disk.
            start_limit: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            deadline: Duration::from_secs(30),
            write_grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            // A secret of 1 MiB, escaped or in base64, with room.
            max_body: 8 * 1024 * 1024,
            max_connections: 1024,
            max_connections_per_peer: 512,
            // A client sends something at once after it has connected.
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            body: BodyLimits::default(),
        }
    }
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        // Far above what people send to a server of secrets, and parsed in some milliseconds.
        BodyLimits {
            max_fields: 1000,
            max_parts: 1000,
            max_depth: 64,
            max_digits: 1000,
            max_rows: 10_000,
            max_values: 50_000,
        }
    }
}
