//! One request on its way.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::HeaderName;

use crate::http::Head;
use crate::script::Core;
use crate::script::route::decoded;
use crate::script::seen::SeenAccesses;

/// One request on its way.
pub(super) struct Exchange<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) head: &'a Head,
    pub(super) body: Bytes,
    /// The path in plain text; as sent, where it has none.
    pub(super) path: String,
    pub(super) context: String,
    /// What it got at so far.
    pub(super) seen: SeenAccesses,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(core: &'a Arc<Core>, head: &'a Head, body: Bytes) -> Exchange<'a> {
        let path = decoded(&head.path).unwrap_or_else(|| head.path.clone());
        Exchange { core, head, body, path, context: context_id(), seen: SeenAccesses::default() }
    }

    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A random UUID. Without randomness it is all zeros; the request goes on.
pub(super) fn context_id() -> String {
    let mut bytes = [0u8; 16];
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: std::ops::Range<usize>| {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}
