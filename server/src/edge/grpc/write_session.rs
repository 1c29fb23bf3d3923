//! [`WriteSession`]: the rules of one `ByteStream.Write`, apart from any I/O.
//!
//! Units: offsets count the bytes as they are sent, so compressed ones in a compressed upload.
//! Source: `google/bytestream/bytestream.proto`, and the REAPI's "Uploading single files".

use bytes::Bytes;
use larder_protos::bytestream::WriteRequest;
use thiserror::Error;

/// How far an upload has come.
#[derive(Debug)]
pub(crate) struct WriteSession {
    resource_name: String,
    offset_bytes: u64,
    finished: bool,
}

/// What a client may do wrong within an upload.
#[derive(Debug, Error, Eq, PartialEq)]
pub(crate) enum SessionError {
    #[error("write_offset {actual} is negative")]
    Negative { actual: i64 },
    #[error("write_offset {actual} does not continue the {expected} bytes sent so far")]
    Offset { expected: u64, actual: i64 },
    #[error("resource_name changes from {expected} to {actual} within one upload")]
    Name { expected: String, actual: String },
}

impl WriteSession {
    /// Begins with the first message, whose name the caller has parsed, at the offset that it says.
    pub(crate) fn begin(first: &WriteRequest) -> Result<Self, SessionError> {
        let offset_bytes = u64::try_from(first.write_offset)
            .map_err(|_| SessionError::Negative { actual: first.write_offset })?;
        Ok(Self { resource_name: first.resource_name.clone(), offset_bytes, finished: false })
    }

    /// Takes the next message's bytes, the first message's included. Later messages may leave name and offset out.
    pub(crate) fn accept(&mut self, message: WriteRequest) -> Result<Bytes, SessionError> {
        let WriteRequest { resource_name, write_offset, finish_write, data } = message;
        if !resource_name.is_empty() && resource_name != self.resource_name {
            let expected = self.resource_name.clone();
            return Err(SessionError::Name { expected, actual: resource_name });
        }
        if write_offset != 0 && u64::try_from(write_offset) != Ok(self.offset_bytes) {
            return Err(SessionError::Offset { expected: self.offset_bytes, actual: write_offset });
        }
        self.offset_bytes += data.len() as u64;
        self.finished = finish_write;
        Ok(data)
    }

    /// Whether the client said that this was all. What it may send after that is not read.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// How far the upload has come: what was sent, and what was before a resumed one.
    pub(crate) fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, write_offset: i64, data: &'static [u8], finish: bool) -> WriteRequest {
        WriteRequest {
            resource_name: name.to_owned(),
            write_offset,
            finish_write: finish,
            data: Bytes::from_static(data),
        }
    }

    fn check(messages: Vec<WriteRequest>, expect: Result<&[u8], SessionError>) {
        let run = |messages: Vec<WriteRequest>| {
            let first_offset = messages[0].write_offset;
            let mut session = WriteSession::begin(&messages[0])?;
            let mut sent = Vec::new();
            for message in messages {
                sent.extend_from_slice(&session.accept(message)?);
            }
            let begun = u64::try_from(first_offset).expect("not negative");
            assert_eq!(session.offset_bytes(), begun + sent.len() as u64);
            Ok(sent)
        };
        let described = format!("{messages:?}");
        assert_eq!(run(messages), expect.map(<[u8]>::to_vec), "{described}");
    }

    #[test]
    fn offsets_continue_exactly_and_names_stay() {
        check(vec![message("n", 0, b"abc", true)], Ok(b"abc"));
        check(vec![message("n", 0, b"", false), message("", 0, b"a", true)], Ok(b"a"));
        check(vec![message("n", 0, b"ab", false), message("n", 2, b"c", true)], Ok(b"abc"));
        check(vec![message("n", 0, b"ab", false), message("", 0, b"c", false)], Ok(b"abc"));
        let resumed = || message("n", 5, b"ab", false);
        check(
            vec![resumed(), message("n", 7, b"c", false), message("", 0, b"d", true)],
            Ok(b"abcd"),
        );
        let gap = SessionError::Offset { expected: 7, actual: 2 };
        check(vec![resumed(), message("n", 2, b"c", true)], Err(gap));
        let negative = SessionError::Negative { actual: -5 };
        check(vec![message("n", -5, b"ab", false)], Err(negative));
        let gap = SessionError::Offset { expected: 2, actual: 3 };
        check(vec![message("n", 0, b"ab", false), message("", 3, b"c", true)], Err(gap));
        let negative = SessionError::Offset { expected: 2, actual: -1 };
        check(vec![message("n", 0, b"ab", false), message("", -1, b"c", true)], Err(negative));
        let renamed = SessionError::Name { expected: "n".to_owned(), actual: "m".to_owned() };
        check(vec![message("n", 0, b"ab", false), message("m", 2, b"c", true)], Err(renamed));
    }
}
