//! The bank of planted bugs: what each breaks, and the test that has to catch it.

/// A program of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Tests beside the code of `domain`.
    Domain,
    /// Tests beside the code of `server`.
    Server,
    /// The tests of `server` from outside.
    It,
}

impl Suite {
    /// Every one, the fastest first.
    pub const ALL: [Suite; 3] = [Suite::Domain, Suite::Server, Suite::It];

    /// Its package.
    pub const fn package(self) -> &'static str {
        match self {
            Suite::Domain => "domain",
            Suite::Server | Suite::It => "server",
        }
    }

    /// Its target.
    pub const fn target(self) -> &'static str {
        match self {
            Suite::Domain => "domain",
            Suite::Server => "server",
            Suite::It => "it",
        }
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::Domain => "domain",
            Suite::Server => "server",
            Suite::It => "server/tests/it",
        }
    }
}

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    /// Its name: `planted("name")` in the product.
    pub name: &'static str,
    /// What is wrong with a product that has it.
    pub breaks: &'static str,
    /// Where its test is,
    pub suite: Suite,
    /// and its path there.
    pub test: &'static str,
}

impl Bug {
    /// The test, for people.
    pub fn by(&self) -> String {
        format!("{} {}", self.suite.name(), self.test)
    }
}

const fn domain(name: &'static str, breaks: &'static str, test: &'static str) -> Bug {
    Bug { name, breaks, suite: Suite::Domain, test }
}

const fn server(name: &'static str, breaks: &'static str, test: &'static str) -> Bug {
    Bug { name, breaks, suite: Suite::Server, test }
}

const fn it(name: &'static str, breaks: &'static str, test: &'static str) -> Bug {
    Bug { name, breaks, suite: Suite::It, test }
}

/// Every planted bug.
#[rustfmt::skip] // a table
pub const BUGS: &[Bug] = &[
    // Numbers and times.
    domain("float-sums", "sums temperatures in f32 degrees", "aggregate::tests::merging_in_any_order_is_adding_all"),
    domain("square-sum-overflows", "sums squares in 32 bits", "aggregate::tests::averages_and_deviations"),
    domain("averages-cut-off", "cuts averages off instead of rounding", "milli::tests::rounds_to_the_nearest"),
    domain("numbers-through-floats", "reads decimals by way of f64", "milli::tests::json_numbers"),
    domain("offset-of-a-time-left-out", "takes local times for UTC", "time::tests::rfc3339"),
    // The cold chain.
    domain("limit-counts-as-outside", "calls 8.000 °C too warm", "coldchain::tests::conditions_at_the_edges"),
    domain("zero-is-not-freezing", "calls 0 °C and below too cold only", "coldchain::tests::conditions_at_the_edges"),
    domain("excursion-begins-anew", "lets each reading begin the excursion", "coldchain::tests::an_excursion_keeps_its_start_and_its_peak"),
    domain("late-word-of-an-end-is-ignored", "leaves an excursion whole that back-fill shows to be two", "engine::outside::tests::an_end_that_is_heard_of_late_is_an_end"),
    domain("sensor-code-is-an-excursion", "takes 85.000 of a failed sensor for heat", "engine::tests::faults_are_shown_and_counted_in_no_window"),
    domain("silence-resolves-an-excursion", "ends an excursion when its device falls silent", "engine::tests::silence_ends_no_excursion"),
    domain("late-data-passes-no-detection", "looks for excursions in readings that came in time only", "engine::tests::an_excursion_hears_of_late_readings"),
    // Dispositions.
    domain("duplicate-is-accepted", "counts a repeated record again", "engine::tests::one_disposition_each"),
    domain("conflict-is-a-duplicate", "drops another body under a known id", "engine::tests::one_disposition_each"),
    domain("repeated-request-makes-dead-letters", "makes a dead letter of each repetition", "engine::tests::one_disposition_each"),
    domain("refused-once-refused-for-ever", "takes a corrected record for a duplicate of the refused one", "engine::tests::one_disposition_each"),
    domain("running-number-counts-twice", "forgets running numbers with the identities", "engine::tests::running_numbers_tell_duplicates_and_what_is_missing"),
    domain("gap-of-running-numbers-forgotten", "misses no record of a device that counts", "sequence::tests::gaps_are_counted_and_filled"),
    domain("late-is-dropped-in-silence", "calls late records accepted and counts them nowhere", "engine::tests::conservation_and_restart"),
    domain("unregistered-without-end", "keeps a state for every id that anybody invents", "engine::tests::room_for_devices_that_nobody_registered"),
    domain("without-room-is-remembered-as-taken", "remembers after a restart as taken what had no room", "engine::tests::room_for_devices_that_nobody_registered"),
    // Clocks and watermarks.
    domain("future-moves-watermark", "believes a clock that is ahead", "engine::tests::bad_clocks_move_no_watermark"),
    domain("reset-clock-is-believed", "believes a clock that was reset", "engine::tests::bad_clocks_move_no_watermark"),
    domain("watermark-goes-back", "lets an older reading move M(d) back", "window::tests::equals_the_reference"),
    domain("time-goes-back", "follows a server clock that goes back", "engine::tests::time_in_which_nobody_read_is_no_silence"),
    domain("time-in-which-nobody-read-is-silence", "counts its own pause as silence of devices", "engine::tests::time_in_which_nobody_read_is_no_silence"),
    domain("restart-forgets-who-is-silent", "waits for no silence after a restart", "engine::tests::time_in_which_nobody_read_is_no_silence"),
    // Windows.
    domain("window-end-is-inside", "puts a reading at the end into the window", "window::tests::firing"),
    domain("window-fires-early", "fires a second before the watermark", "window::tests::firing"),
    domain("late-correction-keeps-its-version", "gives a corrected window no new version", "window::tests::firing"),
    domain("lateness-off-by-one", "takes one millisecond more than the lateness", "window::tests::lateness_and_slots"),
    domain("back-fill-is-late", "calls back-fill of a gap late", "window::tests::lateness_and_slots"),
    domain("gap-stays-open-for-ever", "closes no gap after 48 h", "window::tests::lateness_and_slots"),
    domain("slot-of-negative-time", "rounds towards zero before 1970", "window::sliding::tests::windows_hold_what_their_panes_do"),
    domain("sliding-window-misses-a-pane", "leaves the last pane out of a sliding window", "window::sliding::tests::windows_hold_what_their_panes_do"),
    domain("session-gap-off-by-one", "joins sessions that lie exactly a gap apart", "window::beyond_tests::sessions_extend_and_merge"),
    domain("joined-before-the-watermark", "settles a reading before nearer fixes can come", "join::tests::the_nearest_fix_in_time"),
    domain("fix-of-nowhere-places-readings", "believes fixes that lie in no place of the country", "engine::travel::tests::a_fix_of_nowhere_places_nothing"),
    domain("pairings-of-the-configuration-count", "takes who travels with whom from the configuration, not from the log", "engine::travel::tests::the_log_says_who_travels_with_whom"),
    domain("fix-handed-on-counts-twice", "takes a fix of another partition in again that it has let go of", "engine::travel::tests::a_fix_that_is_handed_on_counts_once_and_is_no_record"),
    domain("fix-of-an-ended-pairing-counts", "lets a fix that was handed on count whose pairing has ended, or not begun yet", "engine::travel::tests::a_fix_is_taken_from_trackers_that_the_note_here_names_alone"),
    server("nul-travels", "takes ids with a NUL, which Postgres takes in no text, from others", "travel::tests::a_fix_is_read_back_and_nothing_else_is"),
    it("pairings-are-not-noted", "leaves pairings that are configured out of the log", "trackers::pairings_that_come_later"),
    server("fix-handed-on-after-the-checkpoint", "hands fixes on to other partitions after the checkpoint that covers them", "pipeline::checkpoint::tests::fixes_are_handed_on_before_the_commit"),
    // Roll-ups.
    domain("roll-up-adds", "adds versions of a window instead of their difference", "engine::tests::conservation_and_restart"),
    domain("roll-up-skips-a-level", "leaves districts out of roll-ups", "engine::tests::conservation_and_restart"),
    domain("hour-is-forgotten-too-early", "forgets hours that may still change", "rollup::history_tests::what_is_not_in_memory_is_in_the_store"),
    domain("packed-hour-was-fine", "packs hours without what lay outside", "rollup::hours::tests::packing_loses_nothing"),
    domain(
        "stored-sums-are-guessed",
        "stores a device's windows without the sums of more than two readings",
        "window::packed::tests::windows_are_read_as_they_were_written",
    ),
    domain("stored-gaps-expire-at-once", "forgets when the gaps that it stores were passed", "window::gaps::tests::gaps_are_read_as_they_were_written"),
    domain("older-window-overstays", "lets no window go that came before the oldest one", "window::ring::tests::they_are_a_list"),
    domain("packed-hour-was-on-time", "packs hours without what came too late", "rollup::hours::tests::packing_loses_nothing"),
    domain("late-hours-stay-open", "unpacks every hour that a late record is about", "rollup::hours::tests::late_records_open_few_hours"),
    domain("late-record-corrects-nothing", "leaves late records out of the figures of their hour", "engine::tests::conservation_and_restart"),
    domain("as-known-at-lags-behind", "makes versions of hours without the newest records", "engine::tests::known::as_known_at"),
    domain("counts-as-known-lag-behind", "makes versions of how equipment stands without the newest records and silences", "engine::tests::known::counts_as_known_at"),
    it("counts-as-known-are-those-of-now", "answers how equipment stood with how it stands", "derived::equipment_as_it_was_known"),
    it("retention-leaves-no-note", "answers as if nobody had been heard of where retention has taken what was known", "derived::a_new_partition_takes_no_history_away"),
    it("histogram-as-known-is-that-of-now", "answers with the histogram of now what it was", "derived::equipment_as_it_was_known"),
    // The books of each day.
    domain("day-ends-without-its-last-records", "stores of a day only what checkpoints saw before it was over", "engine::days::tests::books_of_each_day_are_what_came_in"),
    it("books-of-days-are-believed", "starts on books that are broken", "days::a_start_on_broken_books_is_refused"),
    it("letters-are-believed", "starts where dead letters are missing", "days::a_start_without_its_dead_letters_is_refused"),
    it("windows-are-believed", "starts where windows hold what nobody counted", "days::a_start_on_other_windows_is_refused"),
    server("hours-are-believed", "starts where the country is not the sum of its parts", "pipeline::steps::tests::hours_that_are_no_sums_are_refused"),
    it("later-strangers-are-judged-otherwise", "judges a device that nobody registered by how many its partition had before", "sim::one_partition_instead_of_several"),
    // The log.
    it("ack-before-sync", "answers before the disk has it", "faults::a_sync_that_fails_ends_the_program"),
    it("failed-sync-is-tried-again", "believes the second sync after one that failed", "faults::a_sync_that_fails_ends_the_program"),
    it("half-a-group-stays", "appends behind half a group that the disk took", "faults::half_a_group_is_taken_back"),
    it("name-of-a-segment-is-not-synced", "goes on in a segment whose name may be lost", "faults::calls::every_sync_fails_once"),
    server("torn-end-stays", "appends behind the rest of a torn group", "log::tests::every_torn_end_is_cut_and_nothing_before_it_is_lost"),
    server("damage-is-cut-off", "cuts the log off at damage in the middle", "log::tests::damage_is_named_unless_it_is_of_the_last_group"),
    server("damage-is-believed", "ignores the checksums of blocks", "log::tests::damage_is_named_unless_it_is_of_the_last_group"),
    server("block-knows-no-group", "lets each block be a group of its own", "log::tests::the_first_group_of_a_segment_may_be_torn_anywhere"),
    server("time-of-the-log-goes-back", "writes times of receipt that go back", "log::tests::what_was_appended_is_read_and_numbers_go_on"),
    server("segment-in-need-is-deleted", "deletes log that no checkpoint covers", "log::tests::segments_that_nobody_needs_are_pruned_from_the_front"),
    server("clock-is-always-believed", "follows a jump of the wall clock", "clock::tests::corrections_are_followed_and_jumps_are_not"),
    server("records-take-the-ballast", "takes records in while the disk is full", "pipeline::steps::tests::a_full_disk_takes_decisions_alone"),
    server("time-passes-on-a-full-disk", "lets time pass while it refuses records", "pipeline::steps::tests::a_full_disk_takes_decisions_alone"),
    server("refused-is-silent", "lets devices fall silent whose records it refuses", "pipeline::steps::tests::time_in_which_senders_are_refused_is_no_silence"),
    // Identities.
    it("identities-in-memory-only", "knows no duplicate after a restart", "lifecycle::stop_and_start_keep_everything"),
    server("identity-unknown-while-frozen", "knows no duplicate while a run is written", "identities::tests::an_identity_is_known_in_the_table_while_frozen_and_from_disk"),
    server("older-identities-forgotten", "looks in the newest generation only", "identities::tests::an_identity_is_known_in_the_table_while_frozen_and_from_disk"),
    server("identities-forgotten-too-early", "forgets what may still be repeated", "identities::tests::what_is_too_old_to_matter_is_forgotten"),
    server("run-is-removed-before-the-commit", "removes runs that the last checkpoint still names", "pipeline::shard::tests::a_run_stays_until_no_checkpoint_names_it"),
    server("run-is-not-checked", "ignores the checksums of runs", "identities::tests::a_run_that_is_not_what_was_written_is_never_believed"),
    // Checkpoints and the store.
    it("replayed-over-the-checkpoint", "counts again after a restart what a checkpoint covers", "lifecycle::stop_and_start_keep_everything"),
    it("state-without-its-position", "stores the state and not the position", "store::what_a_checkpoint_wrote_a_restart_loads"),
    it("position-without-its-state", "stores the position and not the state", "store::what_a_checkpoint_wrote_a_restart_loads"),
    it("run-is-not-named", "names no run in its checkpoint", "store::what_a_checkpoint_wrote_a_restart_loads"),
    it("directory-is-shared", "lets two processes write in one directory", "lifecycle::one_process_a_directory"),
    it("other-windows-are-taken", "goes on with other windows than those of the state", "lifecycle::other_windows_than_those_of_the_state_are_refused"),
    it("any-format-is-ours", "reads a state that is encoded in another way", "formats::a_state_in_another_format_is_refused"),
    it("fenced-process-goes-on", "does not look whether the position moved", "store::a_process_that_lost_its_place_is_fenced"),
    it("commit-of-another-is-ours", "leaves the epoch out of the comparison", "store::a_process_that_lost_its_place_is_fenced"),
    it("copy-of-a-run-is-not-fenced", "lets a process without a place write over the run of another", "fences::who_lost_its_place_changes_no_run"),
    it("copies-that-nobody-named-stay", "keeps copies of runs that no checkpoint named", "fences::who_lost_its_place_changes_no_run"),
    it("copy-of-a-run-outlives-its-epoch", "lets a partition be taken over under a copy on its way", "fences::who_takes_over_waits_for_a_copy_on_its_way"),
    it("who-stands-still-is-waited-for", "waits for a stopped process that holds a partition in a checkpoint", "fences::who_stands_still_keeps_no_partition"),
    it("copy-of-a-run-is-not-checked", "believes a copy of a run without looking", "store::runs_move_with_their_partition"),
    server("failed-run-is-tried-again", "tries a run again whose sync failed", "store::tests::only_what_may_pass_is_tried_again"),
    it("no-room-for-a-run-is-the-end", "ends when a run of identities finds the disk full", "faults::calls::every_call_finds_no_room_once"),
    it("no-file-for-a-run-is-the-end", "ends when there is no file handle for a run of identities", "faults::handles::without_file_handles_it_waits"),
    it("stuck-in-a-transaction", "never writes again after a full disk", "faults::a_full_database_is_waited_for"),
    server("locked-database-is-given-up", "gives a database up that another one has just opened", "store::sqlite::tests::who_comes_to_a_locked_database_waits"),
    it("schema-changes-in-pieces", "commits half of a change of the schema", "migrations::a_crash_in_a_migration"),
    it("commit-is-not-recognised", "takes its own commit, of which it did not hear, for that of another", "postgres_faults::a_commit_of_which_nobody_hears_counts_once"),
    it("own-clock-deletes", "deletes by the clock of each process what the log's time keeps", "retention::no_process_deletes_by_its_own_clock_or_will"),
    it("own-retention-deletes", "deletes what another engine wants to be kept", "retention::no_process_deletes_by_its_own_clock_or_will"),
    it("every-process-deletes", "lets processes without an engine delete", "retention::no_process_deletes_by_its_own_clock_or_will"),
    it("whatever-postgres-says-passes", "tries for ever what Postgres never takes", "postgres_faults::what_postgres_never_takes_ends_the_program"),
    it("kept-a-day-less", "deletes a day that is to be kept", "store::what_need_not_be_kept_is_deleted"),
    it("open-letter-may-have-gone", "takes an open dead letter that is lost for one that retention took", "verify::no_open_letter_is_too_old_to_be_missed"),
    it("a-stop-waits-for-the-look", "reads on through the disk when the server stops", "backup::what_has_changed_on_the_disk_is_found"),
    it("kafkas-state-is-taken-over", "works on the state of Kafka's log as on its own", "lifecycle::beside_kafkas_log_there_is_none_in_the_directory"),
    server("letter-to-come-is-decided-on", "recomputes decisions on letters that there were not yet", "verify::scan::tests::what_decides_of_a_letter_to_come_is_void"),
    it("open-letter-is-deleted", "deletes dead letters for their age that nobody has decided on", "store::what_nobody_decided_on_stays"),
    it("log-is-deleted-before-its-identities", "lets log go whose identities no run holds", "store::what_need_not_be_kept_is_deleted"),
    // Side outputs and decisions.
    server("dead-letter-loses-its-bytes", "keeps dead letters as text", "side::tests::bytes_are_kept_as_they_came"),
    server("late-record-is-not-kept", "counts late records and keeps none", "side::tests::bytes_are_kept_as_they_came"),
    it("letter-is-replayed-twice", "lets every decision of a letter count", "verify::what_was_made_in_order_is_whole"),
    it("replay-is-a-duplicate-of-its-letter", "drops a letter that is refused again", "letters::a_letter_is_decided_once"),
    it("decision-is-forgotten", "stores no decision", "letters::a_letter_is_decided_once"),
    server("nul-is-decided", "takes decisions with a NUL, which Postgres takes in no text, from the log", "letters::tests::a_decision_is_read_back_with_the_bytes_of_its_letter"),
    server("anything-is-a-letter", "lets anybody decide of what is no dead letter of the partition", "kafka::partition::tests::only_letters_of_the_partition_are_decided_on"),
    // Admission.
    server("non-finite-is-taken", "takes NaN in what it does not know", "admission::tests::numbers"),
    server("last-of-repeated-keys-counts", "takes the last of repeated keys", "admission::tests::repeated_keys"),
    server("a-level-too-deep", "allows a level too much", "admission::tests::depth"),
    server("nul-is-taken", "takes NUL in a text", "admission::tests::texts"),
    server("record-of-any-length", "sets records no limit", "admission::tests::sizes"),
    server("ids-of-all-sources-are-one", "leaves the source out of the identity", "admission::tests::identity::who_a_record_is"),
    it("nameless-is-refused-each-time", "makes a second dead letter of the same bytes that name nothing", "contract::the_same_file_twice"),
    server("any-ratio-will-do", "inflates what becomes a thousand times as long", "admission::tests::bodies"),
    server("bomb-is-cut-short", "takes the beginning of a body that is too long", "admission::tests::bodies"),
    // HTTP and the live stream.
    server("latest-stops-at-the-first-refusal", "writes no file of latest windows any more once it had to wait", "lifecycle::tests::latest_windows_outlive_a_refusal"),
    it("anybody-may-send", "takes records without a key", "contract::who_may_send"),
    it("any-key-may-send", "takes records with a key for reading", "contract::who_may_send"),
    server("wrong-keys-ask-each-time", "asks the database each time a wrong key is tried", "http::auth::tests::a_wrong_key_is_looked_for_once"),
    it("key-is-stored", "keeps a key beside its hash", "security::a_key_is_nowhere_on_the_disk"),
    it("refusals-are-not-counted", "leaves out of every counter what it refuses", "contract::what_is_refused_is_counted_apart"),
    it("revoked-key-lives-on", "believes a key that was revoked", "contract::who_may_send"),
    it("key-by-its-beginning", "compares the beginning of a key", "store::keys"),
    it("past-is-not-told", "tells no page that its day was filled in", "live::a_page_hears_that_its_past_has_changed"),
    it("any-name-is-ours", "answers under foreign names", "security::only_under_our_own_name"),
    it("title-is-markup", "writes a title as markup", "security::no_markup_through_a_title"),
    server("all-come-back-at-once", "asks all who are refused together to come back together", "http::problem::tests::who_is_refused_together_does_not_come_back_together"),
    server("panic-ends-the-connection", "lets a panic break off its connection without a word", "http::tests::a_panic_is_the_end_of_its_request_alone"),
    it("anybody-decides", "lets a program without a key decide of dead letters", "letters::who_may_decide"),
    it("any-key-decides", "lets a gateway's key decide of dead letters", "letters::who_may_decide"),
    it("any-form-decides", "takes a form that is not of our page", "letters::the_page_works_by_plain_forms"),
    server("any-site-decides", "lets the page of another site decide", "http::letters::tests::only_this_machine_and_only_our_own_pages"),
    server("formula-in-a-table", "writes formulas into CSV", "http::rows::tests::rows_are_valid_and_harmless"),
    server("broken-export-looks-whole", "ends a broken export as a whole one", "http::export::tests::what_is_not_whole_does_not_look_so"),
    it("as-known-at-is-as-of-now", "answers `as known at` with the newest version", "derived::hours_as_they_were_known"),
    server("id-of-another-stream", "takes the id of another stream for its own", "feed::tests::who_comes_back_hears_what_it_missed"),
    server("who-comes-back-is-told-everything", "forgets a topic with its last listener", "feed::tests::who_comes_back_hears_what_it_missed"),
    server("who-falls-behind-is-not-told", "drops messages of a slow listener in silence", "feed::tests::a_listener_that_falls_behind_is_told_to_reload"),
    server("snapshot-misses-a-correction", "leaves a newcomer with what was true for a moment", "publish::tests::a_newcomer_is_told_that_a_held_change_is_gone"),
    // Kafka.
    it("ack-before-the-brokers", "answers before Kafka has it", "kafka_faults::brokers_away_and_back"),
    it("gap-is-passed-over", "begins anew where offsets are gone", "kafka::a_gap_stands_still_until_somebody_accepts_it"),
    it("late-beginning-is-forgotten", "asks later for messages that were deleted before anybody read them", "kafka::a_log_that_was_cut_before_anybody_read_it"),
    server("quiet-partition-gets-no-run", "keeps identities of a quiet partition in no run until Kafka deletes what they came from", "kafka::partition::tests::a_quiet_partition_gets_its_run"),
    it("shorter-topic-is-the-old-one", "goes on in a topic made anew that was still shorter than the old one", "kafka_faults::a_topic_made_anew_is_not_taken_for_the_old_one"),
    server("every-installation-is-ours", "takes control messages of another installation for its own", "kafka::inbox::tests::control_messages_of_others_are_told_apart"),
    server("refused-message-is-tried-for-ever", "waits for ever for a message that no broker will take", "kafka::hand_on::tests::what_can_never_arrive_holds_nobody_up"),
    server("fixes-to-hand-on-are-not-counted", "lets fixes that wait to be handed on fill the memory", "kafka::partition::tests::fixes_that_wait_are_counted"),
    it("rebuild-hands-on-new-fixes-alone", "hands on after a rebuild with more room no fix that was refused before", "trackers::more_room_hands_on_what_was_refused"),
    it("topic-made-anew-is-the-old-one", "goes on in a topic made anew where it was in the old one", "kafka_faults::a_topic_made_anew_is_not_taken_for_the_old_one"),
    it("offset-of-kafka-is-believed", "begins where Kafka says, not where the store says", "kafka::others_write_directly_and_engines_come_and_go"),
    domain("tracker-is-taken-for-its-device", "shows what a tracker's partition knows of a device for the device", "engine::adopt::tests::a_tracker_elsewhere_takes_nothing_from_its_device"),
    it("dead-letters-are-not-told", "leaves the topic of dead letters empty", "kafka::the_same_as_on_the_embedded_log"),
    it("rebuild-begins-late", "leaves the first message out of a rebuild", "kafka_rebuild::what_kafka_holds_makes_the_state_again"),
    it("rebuild-ends-early", "puts the new state in its place before the end of the messages", "kafka_rebuild::what_kafka_holds_makes_the_state_again"),
    it("rebuild-fences-nobody", "lets a process that slept through a rebuild write on", "fences::who_slept_through_a_rebuild_is_fenced"),
    it("begins-where-the-old-state-ended", "goes on behind messages that a state made anew does not cover", "kafka_rebuild::nobody_sees_half_a_state"),
    it("begins-at-the-end", "begins a new partition at its end", "kafka::others_write_directly_and_engines_come_and_go"),
    it("group-waits-for-the-store", "does not poll while the database is slow", "postgres_faults::while_the_database_is_slow_partitions_stay"),
];
