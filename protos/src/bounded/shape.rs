//! [`Shape`]: where the lists of a message are, which is all that the scan needs to know of it.

/// Where the lists of a message are. No message here can stand within itself: so a scan is as deep as these tables, whatever the bytes
/// say.
#[derive(Debug)]
pub struct Shape {
    /// The message's name in the protocol.
    pub name: &'static str,
    /// The fields with lists in them, by number. What is not named here holds none.
    pub fields: &'static [(u32, Field)],
}

/// A field with a list in it.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    /// A list of messages, which may hold lists themselves.
    Messages(&'static Shape),
    /// A list of strings, of bytes, or of messages without lists.
    Values,
    /// A list of numbers, packed or not.
    Numbers,
    /// A single message that holds lists.
    Message(&'static Shape),
}

impl Shape {
    /// What the field holds, if that is a list.
    pub(super) fn field(&self, number: u32) -> Option<Field> {
        let found = self.fields.iter().find(|(named, _)| *named == number);
        found.map(|(_, field)| *field)
    }
}
