//! SHA256TREE: SHA-256 over a binary tree of 1 KiB leaves.
//!
//! Source: the comment on `SHA256TREE` in `remote_execution.proto`. A blob of up to a leaf is hashed by plain SHA-256. A
//! larger one is split at the greatest power of two below its size; its hash is one run of SHA-256's block function over
//! the hashes of both halves, begun from other constants, so that a parent is never mistaken for a leaf.

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

const LEAF_BYTES: usize = 1024;

/// The leading fractional bits of the square roots of the 9th to the 16th prime.
const PARENT_STATE: [u32; 8] = [
    0xcbbb_9d5d,
    0x629a_292a,
    0x9159_015a,
    0x152f_ecd8,
    0x6733_2667,
    0x8eb4_4a87,
    0xdb0c_2e0d,
    0x47b5_481d,
];

type Node = [u8; 32];

/// Hashes a stream in memory that grows with the logarithm of its size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sha256Tree {
    leaf: Sha256,
    leaf_bytes: usize,
    /// How many leaves are full and passed on.
    leaves: u64,
    /// The complete subtrees so far, each larger than the next: one for each bit set in `leaves`.
    subtrees: Vec<Node>,
}

impl Sha256Tree {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // Only when more follows is a full leaf passed on, so that there always is a last one.
            if self.leaf_bytes == LEAF_BYTES {
                self.pass_on_leaf();
            }
            let (now, later) = bytes.split_at(bytes.len().min(LEAF_BYTES - self.leaf_bytes));
            self.leaf.update(now);
            self.leaf_bytes += now.len();
            bytes = later;
        }
    }

    pub(crate) fn finish(mut self) -> Node {
        let last = self.leaf.finalize().into();
        self.subtrees.drain(..).rev().fold(last, |right, left| parent(&left, &right))
    }

    fn pass_on_leaf(&mut self) {
        let mut node: Node = self.leaf.finalize_reset().into();
        self.leaf_bytes = 0;
        let complete_below = self.leaves.trailing_ones();
        for left in self.subtrees.drain(self.subtrees.len() - complete_below as usize..).rev() {
            node = parent(&left, &node);
        }
        self.subtrees.push(node);
        self.leaves += 1;
    }
}

fn parent(left: &Node, right: &Node) -> Node {
    let mut block = [0; 64];
    block[..32].copy_from_slice(left);
    block[32..].copy_from_slice(right);
    let mut state = PARENT_STATE;
    compress256(&mut state, &[block]);
    let mut node = [0; 32];
    for ((bytes, word), begun) in node.chunks_exact_mut(4).zip(state).zip(PARENT_STATE) {
        // The specification wants the block cipher's bare output: the final addition of the first state is undone.
        bytes.copy_from_slice(&word.wrapping_sub(begun).to_be_bytes());
    }
    node
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word.
    fn reference(bytes: &[u8]) -> Node {
        if bytes.len() <= LEAF_BYTES {
            return Sha256::digest(bytes).into();
        }
        let split = bytes.len().next_power_of_two() / 2;
        let (left, right) = bytes.split_at(split);
        parent(&reference(left), &reference(right))
    }

    fn streamed(bytes: &[u8], chunk_bytes: usize) -> Node {
        let mut tree = Sha256Tree::default();
        bytes.chunks(chunk_bytes).for_each(|chunk| tree.update(chunk));
        tree.finish()
    }

    proptest! {
        #[test]
        fn the_stream_follows_the_definition(
            size in 0..20_000_usize,
            chunk_bytes in 1..5_000_usize,
        ) {
            let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
            prop_assert_eq!(streamed(&bytes, chunk_bytes), reference(&bytes));
        }
    }
}
