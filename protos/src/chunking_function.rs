//! [`ChunkingFunction`]: how a blob is cut into chunks where its content says so.

use std::fmt;

use crate::ParseError;
use crate::reapi::chunking_function::Value;

/// A function from a blob to its chunks. Source: `ChunkingFunction` in `remote_execution.proto`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ChunkingFunction {
    /// FastCDC as in the paper of 2020, at normalization level 2.
    FastCdc2020,
    /// `RepMaxCDC`, as buildbarn's go-cdc defines it.
    RepMaxCdc,
}

impl ChunkingFunction {
    /// Reads an enum field; zero says nothing.
    pub fn from_proto(value: i32) -> Result<Option<Self>, ParseError> {
        match Value::try_from(value) {
            Ok(Value::Unknown) => Ok(None),
            Ok(Value::FastCdc2020) => Ok(Some(Self::FastCdc2020)),
            Ok(Value::RepMaxCdc) => Ok(Some(Self::RepMaxCdc)),
            Err(_) => Err(ParseError::UnsupportedChunkingFunction { value }),
        }
    }

    /// The number in an enum field; `None` is zero.
    pub fn to_proto(function: Option<Self>) -> i32 {
        let value = match function {
            None => Value::Unknown,
            Some(Self::FastCdc2020) => Value::FastCdc2020,
            Some(Self::RepMaxCdc) => Value::RepMaxCdc,
        };
        value.into()
    }
}

impl fmt::Display for ChunkingFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FastCdc2020 => "FAST_CDC_2020",
            Self::RepMaxCdc => "REP_MAX_CDC",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        for value in 0..3 {
            let function = ChunkingFunction::from_proto(value).expect("in the protocol");
            assert_eq!(ChunkingFunction::to_proto(function), value);
        }
        for value in [-1, 3] {
            let refused = ChunkingFunction::from_proto(value).expect_err("not in the protocol");
            assert_eq!(
                refused.to_string(),
                format!("chunking function {value} is not served here")
            );
        }
    }
}
