//! What texts are compared by: code points, or their dense numbers.

/// A code point, or its dense number: the index of its positions.
pub(super) trait Symbol: Copy + Eq + Default + 'static {
    fn index(self) -> usize;
}

impl Symbol for u8 {
    fn index(self) -> usize {
        usize::from(self)
    }
}

impl Symbol for u32 {
    fn index(self) -> usize {
        self as usize
    }
}
