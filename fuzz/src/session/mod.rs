//! The whole server: its crew on a real listening socket with simulated disks, and clients that do whatever the bytes
//! say, right or wrong, in pieces, one upon the other, or half of it.
//!
//! Every answer is compared with what the simulated disk says when it is asked directly. In the end all connections
//! and descriptors are gone, and the next client is served.

mod client;
mod model;
mod stage;

use crate::Input;
use client::Client;
use model::{Model, SCENES};
use stage::{FDS, Stage};

/// Clients at a time, one more than the server takes.
const CLIENTS: usize = stage::MAX_CONNECTIONS + 1;

/// Requests of one run, about: on a machine that does other things as well each takes two changes of thread.
const ENOUGH: usize = 400;

/// One run: a byte for the settings in force, then what each client does.
pub fn run(data: &[u8]) {
    let stage = Stage::get();
    let mut input = Input::new(data);
    let scene = usize::from(input.byte()) % SCENES.len();
    let mut play = Play { stage, model: Model::new(scene), clients: Default::default(), sent: 0 };
    stage.server.forget_disks();
    stage.server.reload(&stage.scenes[scene]);
    let descriptors = stage::descriptors();

    while !input.is_empty() && play.sent < ENOUGH {
        play.step(&mut input);
    }
    for place in 0..CLIENTS {
        play.end(place);
    }
    assert_eq!(stage.server.connections(), 0, "all are gone");
    stage::wait_for_descriptors(descriptors);
    play.epilogue();
    // What that one has left behind is not to be counted by the next run.
    stage::wait_for_descriptors(descriptors);
}

/// A run under way.
struct Play {
    stage: &'static Stage,
    model: Model,
    clients: [Option<Client>; CLIENTS],
    /// How often something was sent.
    sent: usize,
}

impl Play {
    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let place = usize::from(what >> 4) % CLIENTS;
        match what & 15 {
            0 => self.connect(place),
            1 => {
                let length = usize::from(input.byte());
                let fds = input.byte();
                self.send(place, input.take(length), fds, usize::MAX);
            }
            2 => self.settle(place),
            3 => self.end(place),
            4 => self.hang_up(place),
            5 => self.time_passes(),
            6 => {
                // So many that neither side's socket has room for all, sometimes.
                let (count, fds, asked) = (input.byte(), input.byte(), asking(input));
                for _ in 0..count {
                    self.send(place, &asked, fds, usize::MAX);
                }
            }
            7..=9 => {
                let (fds, cut) = (input.byte(), input.byte());
                let asked = asking(input);
                self.send(place, &asked, fds, cut.into());
            }
            _ => {
                let (fds, cut) = (input.byte(), input.byte());
                let change = changing(input);
                self.send(place, &change, fds, cut.into());
            }
        }
    }

    /// Connects and says the hello that a proper client says, with a client that is not there yet.
    fn connect(&mut self, place: usize) {
        if self.clients[place].is_some() {
            return;
        }
        let number = self.stage.next_client();
        let is_welcome = self.stage.server.connections() < self.model.room();
        let mut client = Client::connect(self.stage, number);
        if is_welcome {
            client.expect_greeting();
            self.clients[place] = Some(client);
            self.send(place, &[0; 4], FDS.none, usize::MAX);
        } else {
            client.expect_end();
        }
    }

    /// Sends bytes in two pieces, the descriptors with the first byte of the first one.
    fn send(&mut self, place: usize, bytes: &[u8], fds: u8, cut: usize) {
        let Some(client) = &self.clients[place] else { return };
        self.sent += 1;
        let fds = self.stage.descriptors_for(fds);
        let requests = client.wire.preview(bytes, &fds);
        // What others have under way on the same disk comes first, or nobody could say which is first.
        let disks = requests.iter().map(|request| request.disk).collect::<Vec<_>>();
        for other in (0..CLIENTS).filter(|other| *other != place) {
            let under_way = |client: &Client| client.is_owed(&disks);
            if self.clients[other].as_ref().is_some_and(under_way) {
                self.settle(other);
            }
        }
        let Some(client) = &mut self.clients[place] else { return };
        let (requests, is_over) = client.wire.take(bytes, &fds);
        for request in requests {
            let answer = self.model.answer(client.number, &request);
            client.owe(request.disk, answer);
        }
        client.send(bytes, &fds, cut);
        if is_over {
            self.gone(place);
        }
    }

    /// Reads all answers that are due.
    fn settle(&mut self, place: usize) {
        if let Some(client) = &mut self.clients[place] {
            client.settle();
        }
    }

    /// The client sends no more, takes all its answers, and goes.
    fn end(&mut self, place: usize) {
        if let Some(client) = &self.clients[place] {
            client.stop_sending();
            self.gone(place);
        }
    }

    /// The helper is about to hang up, after all answers that are due.
    fn gone(&mut self, place: usize) {
        if let Some(mut client) = self.clients[place].take() {
            client.settle();
            client.expect_end();
            self.away(&client);
        }
    }

    /// The client goes without a word, and without its answers.
    fn hang_up(&mut self, place: usize) {
        if let Some(mut client) = self.clients[place].take() {
            // Which of its requests the server still gets to, nobody can say.
            self.model.doubt(client.disks());
            client.close();
            self.away(&client);
        }
    }

    fn away(&mut self, client: &Client) {
        let left = self.clients.iter().flatten().count();
        self.stage.wait_for(left);
        self.model.forget(client.number);
    }

    /// Whoever owes the rest of something is hung up on.
    fn time_passes(&mut self) {
        // All others must have got what they have asked for in pieces: the server may still wait for the second one.
        for place in 0..CLIENTS {
            self.settle(place);
        }
        let owe = |client: &mut Client| client.wire.owes();
        let mut late: Vec<Client> = self.clients.iter_mut().filter_map(|client| client.take_if(owe)).collect();
        for client in &mut late {
            client.expect_end_while(|| self.stage.server.look_after(stage::LONG));
        }
        for client in &late {
            self.away(client);
        }
    }

    /// One more client, with whom all is as it should be.
    fn epilogue(&mut self) {
        self.connect(0);
        let fds = FDS.disks[0];
        self.send(0, &[0x5e, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0], fds, usize::MAX);
        assert!(self.clients[0].as_ref().is_some_and(Client::is_answered), "the server does not serve any more");
        self.end(0);
    }
}

/// A PERSISTENT RESERVE IN.
fn asking(input: &mut Input<'_>) -> Vec<u8> {
    let (action, length) = (input.byte(), input.word());
    let [high, low] = length.to_be_bytes();
    vec![0x5e, action, 0, 0, 0, 0, 0, high, low, 0, 0, 0, 0, 0, 0, 0]
}

/// A PERSISTENT RESERVE OUT with its parameter list: few keys, so that they meet, and perhaps more bytes behind them.
fn changing(input: &mut Input<'_>) -> Vec<u8> {
    let (action, kind, keys, flags) = (input.byte(), input.byte(), input.byte(), input.byte());
    let more = usize::from(input.byte());
    let more = input.take(if flags & 0x80 == 0 { 0 } else { more });
    let mut list = vec![0; 24];
    (list[7], list[15], list[17], list[20]) = (keys >> 4 & 3, keys & 3, flags >> 4 & 3, flags & 15);
    if keys & 0x40 != 0 {
        list[0] = 0xa1;
    }
    if keys & 4 != 0 {
        list[8] = 0xa1;
    }
    list[19] = 1;
    if action & 0x1f == 7 {
        list[23] = u8::try_from(more.len()).unwrap_or(0);
    } else if flags & 8 != 0 {
        list.extend(u32::try_from(more.len()).unwrap_or(0).to_be_bytes());
    }
    list.extend(more);
    let length = u32::try_from(list.len()).unwrap_or(0).to_be_bytes();
    let cdb = [0x5f, action, kind, 0, 0, length[0], length[1], length[2], length[3], 0, 0, 0, 0, 0, 0, 0];
    [&cdb[..], &list].concat()
}
