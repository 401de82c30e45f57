//! One way through all that can happen, and the next one.

/// The choices of one play: those of a script first, then always the first option, which is that nothing happens.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// What was chosen, and of how many.
    taken: Vec<(u32, u32)>,
    /// How many of them came from the script.
    scripted: usize,
    position: usize,
}

impl Choices {
    /// Chooses one of so many options.
    pub fn choose(&mut self, options: u32) -> u32 {
        let at = self.position;
        self.position += 1;
        if let Some((chosen, known)) = self.taken.get(at) {
            assert_eq!(*known, options, "a play depends on nothing but its choices");
            return *chosen;
        }
        self.taken.push((0, options));
        0
    }

    /// Whether the play is past what it shares with the one before it.
    pub fn is_new(&self) -> bool {
        self.position >= self.scripted
    }

    /// Goes on to the next play; false if this was the last.
    pub fn advance(&mut self) -> bool {
        while let Some((chosen, options)) = self.taken.pop() {
            if chosen + 1 < options {
                self.taken.push((chosen + 1, options));
                self.scripted = self.taken.len();
                self.position = 0;
                return true;
            }
        }
        false
    }
}

/// A sequence of numbers that looks like chance and is the same every time (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
        high % bound.max(1)
    }
}

impl Choices {
    /// The same play from its beginning.
    pub fn rewind(&mut self) {
        self.scripted = self.taken.len();
        self.position = 0;
    }
}
