//! Reads a request's body: bounded in size by a limit and in time by the request's deadline.

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::problem::DoorFault;
use super::wiped::WipedBuffer;

/// The whole body, at most `max` bytes of it, before `deadline`.
///
/// A `Content-Length` above the limit fails before anything is read, so that a client which waits for
/// `100 Continue` never sends it.
pub(super) async fn collect<B>(body: B, max: usize, deadline: Instant) -> Result<Bytes, DoorFault>
where
    B: Body + Unpin,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > max {
        return Err(DoorFault::BodyTooLarge(max));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    timeout_at(deadline, read(body, declared, max)).await.unwrap_or(Err(DoorFault::BodySlow))
}

async fn read<B: Body + Unpin>(mut body: B, declared: usize, max: usize) -> Result<Bytes, DoorFault> {
    // The length that a client claims reserves little; what it really sends reserves more.
    let mut whole = WipedBuffer::with_capacity(declared.min(64 * 1024));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| DoorFault::BodyBroken)?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > max - whole.len() {
            return Err(DoorFault::BodyTooLarge(max));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            whole.extend(chunk);
            let read = chunk.len();
            data.advance(read);
        }
    }
    Ok(whole.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn pieces(all: &[&'static [u8]]) -> impl Body + Unpin + use<> {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> =
            all.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn pieces_come_together_in_order() {
        assert_eq!(collect(pieces(&[b"a", b"", b"bcd", b"e"]), 5, soon()).await.unwrap(), "abcde");
    }

    #[tokio::test]
    async fn the_limit_is_exact_and_holds_without_a_declared_length() {
        assert!(collect(pieces(&[b"abc", b"de"]), 5, soon()).await.is_ok());
        assert_eq!(collect(pieces(&[b"abc", b"def"]), 5, soon()).await, Err(DoorFault::BodyTooLarge(5)));
    }

    #[tokio::test]
    async fn a_declared_length_above_the_limit_fails_at_once() {
        let body = Full::new(Bytes::from_static(b"abcdef"));
        assert_eq!(collect(body, 5, soon()).await, Err(DoorFault::BodyTooLarge(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_meets_the_deadline() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let start = Instant::now();
        assert_eq!(collect(body, 5, start + Duration::from_secs(3)).await, Err(DoorFault::BodySlow));
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test]
    async fn a_broken_body_is_told_from_a_slow_one() {
        let broken = stream::iter([Err::<Frame<Bytes>, _>(std::io::Error::other("reset"))]);
        assert_eq!(collect(StreamBody::new(broken), 5, soon()).await, Err(DoorFault::BodyBroken));
    }
}
