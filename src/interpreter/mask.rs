//! Which invocations of a workgroup are at work.

/// Invocations of a workgroup at most.
pub(super) const LANES: usize = 1024;

/// A set of the invocations of a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    bits: [u64; LANES / 64],
    /// How many of the words are in use.
    words: usize,
}

impl Mask {
    pub fn none(lanes: usize) -> Self {
        Self {
            bits: [0; LANES / 64],
            words: lanes.div_ceil(64),
        }
    }

    pub fn all(lanes: usize) -> Self {
        let mut mask = Self::none(lanes);
        for lane in 0..lanes {
            mask.insert(lane);
        }
        mask
    }

    pub fn insert(&mut self, lane: usize) {
        self.bits[lane / 64] |= 1 << (lane % 64);
    }

    pub fn any(&self) -> bool {
        self.bits[..self.words].iter().any(|&bits| bits != 0)
    }

    /// With the lanes of `other`.
    pub fn add(&mut self, other: &Mask) {
        for (bits, other) in self.bits[..self.words].iter_mut().zip(&other.bits) {
            *bits |= other;
        }
    }

    /// Without the lanes of `other`.
    pub fn remove(&mut self, other: &Mask) {
        for (bits, other) in self.bits[..self.words].iter_mut().zip(&other.bits) {
            *bits &= !other;
        }
    }

    /// The lanes for which `holds`.
    pub fn filter(&self, mut holds: impl FnMut(usize) -> bool) -> Self {
        let mut mask = *self;
        for lane in self.lanes() {
            if !holds(lane) {
                mask.bits[lane / 64] &= !(1 << (lane % 64));
            }
        }
        mask
    }

    /// The lanes, in order.
    pub fn lanes(&self) -> impl Iterator<Item = usize> + use<> {
        let (all, words) = (self.bits, self.words);
        let mut at = 0;
        let mut bits = all[0];
        std::iter::from_fn(move || {
            while bits == 0 {
                at += 1;
                if at >= words {
                    return None;
                }
                bits = all[at];
            }
            let lane = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            Some(at * 64 + lane)
        })
    }
}
