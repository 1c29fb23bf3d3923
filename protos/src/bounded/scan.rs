//! [`count`]: how many elements the lists of an encoded message have, without decoding it.
//!
//! Invariant: whatever the decoder would make of the bytes, it makes no more elements than are counted here. So what
//! breaks a rule of the wire format is refused here: the decoder notices some of it only after it has built what follows.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use thiserror::Error;

use super::shape::{Field, Shape};

/// How many groups may be open at once. As many as prost has, which skips a group by a call within the call for the one around it:
/// a build of it without a limit (its feature `no-recursion-limit`, which deny.toml bans) would leave the stack.
const MAX_OPEN_GROUPS: usize = 100;

/// What is wrong with an encoded message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Malformed {
    /// A number has more than 64 bits.
    #[error("a number has more than 64 bits")]
    Number,
    /// A field has no number, or a type that there is not.
    #[error("a field's key is malformed")]
    Key,
    /// A field or a group goes on after the end of what it stands in.
    #[error("a field is longer than what it stands in")]
    Truncated,
    /// A group ends that did not begin.
    #[error("a group ends that did not begin")]
    Group,
    /// More groups than may be are open at once.
    #[error("more than {MAX_OPEN_GROUPS} groups stand within each other")]
    Depth,
}

/// Counts the elements of all lists in `encoded`, nested ones too. Stops soon after it has seen more than `limit`.
pub(super) fn count(encoded: &[u8], shape: &Shape, limit: usize) -> Result<usize, Malformed> {
    let mut scan = Scan { seen: 0, limit };
    scan.message(encoded, shape)?;
    Ok(scan.seen)
}

struct Scan {
    seen: usize,
    limit: usize,
}

impl Scan {
    fn message(&mut self, mut rest: &[u8], shape: &Shape) -> Result<(), Malformed> {
        // What stands in a group is skipped by the decoder: no message here has groups.
        let mut groups = 0_usize;
        while !rest.is_empty() && self.seen <= self.limit {
            let key = u32::try_from(number(&mut rest)?).map_err(|_| Malformed::Key)?;
            let field = if groups == 0 { shape.field(key >> 3) } else { None };
            match key & 7 {
                _ if key >> 3 == 0 => return Err(Malformed::Key),
                0 => {
                    number(&mut rest)?;
                    self.seen += usize::from(matches!(field, Some(Field::Numbers)));
                }
                1 => drop(take(&mut rest, 8)?),
                2 => {
                    let length = number(&mut rest)?;
                    self.field(take(&mut rest, length)?, field)?;
                }
                3 if groups == MAX_OPEN_GROUPS => return Err(Malformed::Depth),
                3 => groups += 1,
                4 => groups = groups.checked_sub(1).ok_or(Malformed::Group)?,
                5 => drop(take(&mut rest, 4)?),
                _ => return Err(Malformed::Key),
            }
        }
        // With the limit passed the rest was not looked at.
        if groups > 0 && self.seen <= self.limit { Err(Malformed::Truncated) } else { Ok(()) }
    }

    fn field(&mut self, bytes: &[u8], field: Option<Field>) -> Result<(), Malformed> {
        match field {
            None => Ok(()),
            Some(Field::Values) => {
                self.seen += 1;
                Ok(())
            }
            Some(Field::Messages(shape)) => {
                self.seen += 1;
                self.message(bytes, shape)
            }
            Some(Field::Message(shape)) => self.message(bytes, shape),
            Some(Field::Numbers) => {
                // The last byte of each number has its top bit clear.
                self.seen += bytes.iter().filter(|byte| **byte < 0x80).count();
                Ok(())
            }
        }
    }
}

/// Takes a variable-length number off the front.
fn number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed::Truncated)?;
        *rest = after;
        if shift == 63 && *byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed::Number)
}

/// Takes so many bytes off the front.
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(taken)
}
