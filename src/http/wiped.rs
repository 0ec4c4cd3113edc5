//! Bytes that grow without leaving copies of themselves behind.

use std::io;

use bytes::Bytes;
use zeroize::Zeroizing;

/// A buffer that is wiped when it is dropped. A `Vec` by itself leaves the bytes in its old place when it grows.
pub(super) struct WipedBuffer(Zeroizing<Vec<u8>>);

// === impl WipedBuffer ===

impl WipedBuffer {
    pub fn with_capacity(capacity: usize) -> WipedBuffer {
        WipedBuffer(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts bytes at the end.
    pub fn extend(&mut self, more: &[u8]) {
        let needed = self.0.len() + more.len();
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.0.capacity() * 2));
            larger.extend_from_slice(&self.0);
            self.0 = Zeroizing::new(larger);
        }
        self.0.extend_from_slice(more);
    }

    /// The bytes as a handle, whose last drop wipes them.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl io::Write for WipedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_together_however_often_it_grows() {
        let mut buffer = WipedBuffer::with_capacity(2);
        for piece in [b"ab".as_slice(), b"", b"cdefg", b"h"] {
            buffer.extend(piece);
        }
        assert_eq!((buffer.len(), buffer.into_bytes()), (8, Bytes::from_static(b"abcdefgh")));
    }
}
