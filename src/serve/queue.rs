//! Which of the texts that wait are computed together.

use std::collections::VecDeque;

/// A text that waits.
#[derive(Debug)]
pub struct Row<T> {
    /// Its length.
    pub tokens: usize,
    /// What is to be done with it.
    pub work: T,
}

/// What a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The most tokens, those of padding among them. A batch of one text may have more.
    pub tokens: usize,
    /// Whether each text takes as much as the longest.
    pub pads: bool,
}

impl Room {
    /// The tokens of so many texts of a sum and a longest.
    fn taken(self, texts: usize, sum: usize, longest: usize) -> usize {
        if self.pads { texts * longest } else { sum }
    }
}

/// The texts that wait, by their requests in the order of arrival.
///
/// A batch is filled in rounds, in each of which every request gives one text, so that a long list
/// keeps nobody waiting who asks for one. A text that no longer fits is left for a later batch, but
/// the first in line is always taken. Where texts are padded, those of like length therefore come
/// together.
#[derive(Debug)]
pub struct Queue<T> {
    requests: VecDeque<VecDeque<Row<T>>>,
    rows: usize,
    most: usize,
}

impl<T> Queue<T> {
    /// An empty queue of at most so many texts.
    pub fn new(most: usize) -> Self {
        Self { requests: VecDeque::new(), rows: 0, most }
    }

    /// Whether the texts of a request can be added.
    pub fn has_room(&self, rows: &VecDeque<Row<T>>) -> bool {
        self.rows + rows.len() <= self.most
    }

    /// Adds the texts of a request, all or none.
    ///
    /// # Errors
    /// So many wait already that there is no room.
    pub fn push(&mut self, rows: VecDeque<Row<T>>) -> Result<(), usize> {
        if !self.has_room(&rows) {
            return Err(self.rows);
        }
        self.rows += rows.len();
        self.requests.push_back(rows);
        Ok(())
    }

    /// The texts that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The requests that wait.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Forgets the texts that nobody waits for any more.
    pub fn retain(&mut self, is_wanted: impl Fn(&T) -> bool) {
        for request in &mut self.requests {
            request.retain(|row| is_wanted(&row.work));
        }
        self.tidy();
    }

    /// Takes the next batch out; it is empty only where nothing waits.
    pub fn next_batch(&mut self, room: Room) -> Vec<Row<T>> {
        let (mut batch, mut sum, mut longest) = (Vec::new(), 0, 0);
        loop {
            let before = batch.len();
            for request in &mut self.requests {
                let Some(tokens) = request.front().map(|row| row.tokens) else { continue };
                let with = room.taken(batch.len() + 1, sum + tokens, longest.max(tokens));
                if !batch.is_empty() && with > room.tokens {
                    continue;
                }
                batch.extend(request.pop_front());
                (sum, longest) = (sum + tokens, longest.max(tokens));
            }
            if batch.len() == before {
                break;
            }
        }
        self.tidy();
        batch
    }

    fn tidy(&mut self) {
        self.requests.retain(|request| !request.is_empty());
        self.rows = self.requests.iter().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKED: Room = Room { tokens: 100, pads: false };
    const PADDED: Room = Room { tokens: 100, pads: true };

    /// A queue of requests with texts of these lengths; each text knows its request and its place.
    fn queue(requests: &[&[usize]]) -> Queue<(usize, usize)> {
        let mut queue = Queue::new(1000);
        for (n, lengths) in requests.iter().enumerate() {
            let row = |(place, tokens): (usize, &usize)| Row { tokens: *tokens, work: (n, place) };
            queue.push(lengths.iter().enumerate().map(row).collect()).unwrap();
        }
        queue
    }

    fn batch(queue: &mut Queue<(usize, usize)>, room: Room) -> Vec<(usize, usize)> {
        queue.next_batch(room).into_iter().map(|row| row.work).collect()
    }

    #[test]
    fn a_batch_holds_no_more_tokens_than_it_may() {
        let mut queue = queue(&[&[50], &[40], &[20], &[10]]);
        assert_eq!(batch(&mut queue, PACKED), [(0, 0), (1, 0), (3, 0)]);
        assert_eq!(batch(&mut queue, PACKED), [(2, 0)]);
        assert_eq!(batch(&mut queue, PACKED), []);
    }

    #[test]
    fn padding_counts_so_that_like_lengths_come_together() {
        let mut queue = queue(&[&[10], &[60], &[12], &[55], &[11]]);
        assert_eq!(batch(&mut queue, PADDED), [(0, 0), (2, 0), (4, 0)]);
        assert_eq!(batch(&mut queue, PADDED), [(1, 0)]);
        assert_eq!(batch(&mut queue, PADDED), [(3, 0)]);
    }

    #[test]
    fn a_text_longer_than_a_batch_is_computed_alone_and_not_left_behind() {
        let mut queue = queue(&[&[5], &[300], &[5], &[5]]);
        assert_eq!(batch(&mut queue, PACKED), [(0, 0), (2, 0), (3, 0)]);
        queue.push(VecDeque::from([Row { tokens: 5, work: (4, 0) }])).unwrap();
        assert_eq!(batch(&mut queue, PACKED), [(1, 0)]);
        assert_eq!(batch(&mut queue, PACKED), [(4, 0)]);
    }

    #[test]
    fn a_long_list_does_not_keep_a_single_text_waiting_and_keeps_its_order() {
        let list = [30; 8];
        let mut queue = queue(&[&list, &[30]]);
        assert_eq!(batch(&mut queue, PACKED), [(0, 0), (1, 0), (0, 1)]);
        assert_eq!(batch(&mut queue, PACKED), [(0, 2), (0, 3), (0, 4)]);
        assert_eq!((queue.rows(), queue.requests()), (3, 1));
    }

    #[test]
    fn a_request_finds_room_for_all_of_its_texts_or_none() {
        let mut queue = Queue::new(3);
        let rows = |n| (0..n).map(|work| Row { tokens: 1, work }).collect();
        queue.push(rows(2)).unwrap();
        assert_eq!(queue.push(rows(2)), Err(2));
        assert_eq!(queue.push(rows(1)), Ok(()));
        assert_eq!(queue.push(rows(1)), Err(3));
        queue.next_batch(Room { tokens: 1, pads: false });
        assert_eq!(queue.push(rows(1)), Ok(()));
    }

    #[test]
    fn texts_that_nobody_waits_for_are_forgotten() {
        let mut queue = queue(&[&[1, 1], &[1]]);
        queue.retain(|(request, _)| *request == 1);
        assert_eq!((queue.rows(), queue.requests()), (1, 1));
        assert_eq!(batch(&mut queue, PACKED), [(1, 0)]);
    }
}
