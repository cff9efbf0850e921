//! The memory of a launch, and who has accessed which word of it.

use super::error::{Fault, Outcome, What};
use super::mask::Mask;

/// The place of what an index beyond the end points to.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Whose memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Every invocation has its own.
    Private,
    /// Only read in a launch.
    Constant,
    /// Of a workgroup.
    Workgroup,
    /// Of all workgroups.
    Storage,
}

/// Who has accessed a word.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// When, counted in barriers, and by whom it was last written and read; a second reader of the same
    /// time shows as `MANY`.
    written: u32,
    writer: u32,
    read: u32,
    reader: u32,
    /// The workgroups, counted from 1, that have written and read it in this launch.
    writing_group: u32,
    reading_group: u32,
}

const MANY: u32 = u32::MAX;

/// When an access happens.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment {
    /// From 1.
    pub group: u32,
    /// How many barriers there have been for each kind of memory; a new workgroup counts as one.
    pub storage: u32,
    pub workgroup: u32,
}

/// A variable.
pub(super) struct Memory {
    pub name: String,
    pub space: Space,
    /// Words of an invocation, where every one has its own; otherwise of all.
    pub size: usize,
    pub words: Vec<u32>,
    /// Of memory that several invocations may write.
    cells: Vec<Cell>,
}

impl Memory {
    pub fn new(name: &str, space: Space, size: usize, words: Vec<u32>) -> Self {
        let shared = matches!(space, Space::Workgroup | Space::Storage);
        Self {
            name: name.to_owned(),
            space,
            size,
            cells: vec![Cell::default(); if shared { words.len() } else { 0 }],
            words,
        }
    }

    /// Whether its accesses are watched.
    pub fn is_shared(&self) -> bool {
        !self.cells.is_empty()
    }

    /// Reads `words` words at each lane's place. What lies nowhere is zero.
    pub fn load(
        &mut self,
        (at, words): (&[u32], usize),
        mask: &Mask,
        moment: &Moment,
        atomic: bool,
        to: &mut [u32],
    ) -> Outcome {
        let watched = self.is_shared() && !atomic;
        for lane in mask.lanes() {
            let to = &mut to[lane * words..][..words];
            if at[lane] == NOWHERE {
                to.fill(0);
                continue;
            }
            let place = self.place(at[lane], lane);
            if watched {
                for place in place..place + words {
                    self.see_read(place, lane as u32, moment)?;
                }
            }
            match to {
                // Most often, and much faster than a copy.
                [to] => *to = self.words[place],
                _ => to.copy_from_slice(&self.words[place..place + words]),
            }
        }
        Ok(())
    }

    /// Writes each lane's words at its place.
    pub fn store(
        &mut self,
        (at, words): (&[u32], usize),
        mask: &Mask,
        moment: &Moment,
        atomic: bool,
        from: &[u32],
    ) -> Outcome {
        let watched = self.is_shared() && !atomic;
        for lane in mask.lanes() {
            let place = self.place(at[lane], lane);
            if watched {
                for place in place..place + words {
                    self.see_write(place, lane as u32, moment)?;
                }
            }
            match &from[lane * words..][..words] {
                &[word] => self.words[place] = word,
                from => self.words[place..place + words].copy_from_slice(from),
            }
        }
        Ok(())
    }

    /// Reads and writes words as they are.
    pub fn touch(&mut self, (at, words): (&[u32], usize), mask: &Mask, moment: &Moment) -> Outcome {
        for lane in mask.lanes() {
            let place = self.place(at[lane], lane);
            for place in place..place + words {
                self.see_read(place, lane as u32, moment)?;
                self.see_write(place, lane as u32, moment)?;
            }
        }
        Ok(())
    }

    /// Where a word of the variable lies: every lane has a private one of its own.
    pub fn place(&self, word: u32, lane: usize) -> usize {
        match self.space {
            Space::Private => self.size * lane + word as usize,
            _ => word as usize,
        }
    }

    fn see_read(&mut self, place: usize, lane: u32, moment: &Moment) -> Outcome {
        let (epoch, group) = (self.epoch(moment), moment.group);
        let Self {
            name, space, cells, ..
        } = self;
        let cell = &mut cells[place];
        if cell.written == epoch && cell.writer != lane {
            let writer = cell.writer;
            return race(format!(
                "invocation {lane} reads word {place} of {name}, which invocation {writer} has \
                 written since the last barrier"
            ));
        }
        if *space != Space::Workgroup {
            if ![0, group].contains(&cell.writing_group) {
                return race(format!(
                    "workgroup {group} reads word {place} of {name}, which workgroup {} has \
                     written",
                    cell.writing_group
                ));
            }
            cell.reading_group = if [0, group].contains(&cell.reading_group) {
                group
            } else {
                MANY
            };
        }
        cell.reader = if cell.read != epoch || cell.reader == lane {
            lane
        } else {
            MANY
        };
        cell.read = epoch;
        Ok(())
    }

    fn see_write(&mut self, place: usize, lane: u32, moment: &Moment) -> Outcome {
        let (epoch, group) = (self.epoch(moment), moment.group);
        let Self {
            name, space, cells, ..
        } = self;
        let cell = &mut cells[place];
        if cell.written == epoch && cell.writer != lane {
            let writer = cell.writer;
            return race(format!(
                "invocations {lane} and {writer} write word {place} of {name}, without a barrier"
            ));
        }
        if cell.read == epoch && cell.reader != lane {
            return race(format!(
                "invocation {lane} writes word {place} of {name}, which another one has read since the \
                 last barrier"
            ));
        }
        if *space != Space::Workgroup {
            for other in [cell.writing_group, cell.reading_group] {
                if ![0, group].contains(&other) {
                    return race(format!(
                        "workgroup {group} writes word {place} of {name}, which another one accesses"
                    ));
                }
            }
            cell.writing_group = group;
        }
        (cell.written, cell.writer) = (epoch, lane);
        Ok(())
    }

    fn epoch(&self, moment: &Moment) -> u32 {
        match self.space {
            Space::Workgroup => moment.workgroup,
            _ => moment.storage,
        }
    }
}

#[cold]
fn race(message: String) -> Outcome {
    Err(Fault::new(What::Race, message))
}
