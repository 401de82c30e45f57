//! Who decides what happens.

use crate::choice::{Choices, Random};

/// Every way, one after the other; or chance.
#[derive(Clone, Debug)]
pub enum Chooser {
    /// Every way.
    Every(Choices),
    /// Chance: the ordinary happens so often in a hundred.
    Chance(Random, u32),
}

impl Chooser {
    /// Chooses one of so many; the first is the ordinary.
    pub fn choose(&mut self, options: u32) -> u32 {
        match self {
            Self::Every(choices) => choices.choose(options),
            Self::Chance(random, ordinary) => {
                if options < 2 || random.below(100) < *ordinary {
                    0
                } else {
                    1 + random.below(options - 1)
                }
            }
        }
    }

    /// The same play once more.
    #[must_use]
    pub fn again(&self) -> Self {
        let mut again = self.clone();
        if let Self::Every(choices) = &mut again {
            choices.rewind();
        }
        again
    }

    /// Whether what follows was not played before.
    pub fn is_new(&self) -> bool {
        match self {
            Self::Every(choices) => choices.is_new(),
            Self::Chance(..) => true,
        }
    }

    /// Goes on to the next way; false if there is none.
    pub fn advance(&mut self) -> bool {
        match self {
            Self::Every(choices) => choices.advance(),
            Self::Chance(..) => false,
        }
    }
}
