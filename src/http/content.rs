//! The body of an answer, as hyper takes it: whole, or in pieces that come in time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::message::Reply;

/// The body of an answer.
pub(super) enum Content {
    /// All of it; its length is said in the head.
    Whole(Full<Bytes>),
    /// Pieces, until their sender is dropped.
    Pieces(mpsc::Receiver<Bytes>),
}

impl Content {
    /// Takes the body out of a reply.
    pub fn of(reply: &mut Reply) -> Content {
        match reply.stream.take() {
            Some(pieces) => Content::Pieces(pieces),
            None => Content::Whole(Full::new(std::mem::take(&mut reply.body))),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Content::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Content::Pieces(pieces) => {
                pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Whole(whole) => whole.is_end_stream(),
            Content::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(whole) => whole.size_hint(),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}
