//! Planted mistakes: the known ways to get the protocol wrong, behind a test-only switch, so that the simulator can show that it finds them.
//!
//! Without the cargo feature `planted-mistakes` (which only the test kit turns on) [`Mistakes`] is empty and every check is `false` at
//! compile time.

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A known way to get the protocol wrong. The names follow the list at the end of the protocol page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mistake {
            $($(#[$doc])* $name,)*
        }

        impl Mistake {
            /// All of them.
            pub const ALL: &'static [Mistake] = &[$(Mistake::$name,)*];
        }
    };
}

mistakes! {
    /// Intake drops what equals the base, whatever was published last.
    IntakeComparesWithBaseOnly,
    /// One base value for both sides instead of a pair.
    OneBaseValue,
    /// Claims cover the source id only.
    ClaimOnlySourceId,
    /// A create whose answer was lost is repeated without waiting.
    RecreateWithoutWait,
    /// A message with the stamp last seen is dropped instead of re-read.
    EqualStampDropped,
    /// The cursor goes to the newest stamp seen.
    CursorNewestSeen,
    /// A lost conflict leaves the loser's half as it was.
    LoserHalfNotUpdated,
    /// State commits do not check the claim.
    NoFencing,
    /// Messages are settled before the outcome is committed.
    SettleBeforeCommit,
    /// Whatever is read back becomes the target half.
    ReadBackUnpredicted,
    /// An update whose answer was lost is resolved at once.
    UnknownUpdateAtOnce,
    /// The send-by time is not checked when sending.
    SendByUnchecked,
    /// An open intent does not keep others away.
    OpenIntentNoClaim,
    /// A match does not look for twins on the source's own side.
    OneSidedMatch,
    /// The first merge compares without declared loss.
    FirstMergeWithoutLoss,
    /// A resumed poll takes the time of its resumption for its start.
    ResumeWithoutPollStart,
    /// "Same" means equal to what was seen last, not to the base.
    SameByLastSeen,
    /// Parked content is published again and again.
    ParkedRepublished,
    /// Linking a parent does not wake those who wait for it.
    ParentWakeLost,
    /// A cross-reference is followed although the record that it names belongs to another.
    CopyFollowed,
    /// What was deleted on the other side is made again.
    GoneIsRecreated,
    /// A field that is not in a record any more is taken for emptied.
    AbsentIsEmpty,
    /// Content whose message is under way is published again.
    OpenRepublished,
    /// Resolving an intent does not mark the source version as seen.
    IntentSeenNotMarked,
    /// The winner of a conflict keeps its half.
    WinnerHalfKept,
    /// A commit marks the source's version as seen, not the target's.
    OneSideSeen,
    /// Polls start at the cursor, without overlap.
    NoOverlap,
    /// Pollers run without a lease.
    PollerUnfenced,
    /// Match keys are not claimed.
    NoMatchKeyClaim,
    /// A re-create does not search above the high-water id.
    RecreateWithoutHighWater,
    /// The cursor moves before the page is published.
    CursorBeforePublish,
    /// No cross-reference is sent with a create.
    NoExternalKey,
    /// The message's snapshot is trusted without looking at its version.
    StaleSnapshotUsed,
    /// All fields are written, changed or not.
    WholeRecordWrite,
    /// No intent is written before a call.
    NoIntent,
    /// An intent resolves as a whole instead of field by field.
    AllOrNothingResolve,
    /// A message is dropped after four deliveries.
    DropAfterFour,
    /// A plan that is carried out writes whatever comes out now.
    PlanUngated,
    /// A rehearsal writes to the systems.
    RehearsalForReal,
    /// Halves of an older mapping are compared as they are.
    OlderMappingIgnored,
    /// A person's answer stands for whatever the two sides hold when it is carried out.
    AnswerOutlivesValues,
    /// A conflict that a person has to decide is decided by the owner.
    AskedIsNotAsked,
    /// What a person has unlinked is linked again by its cross-reference.
    UnlinkedRelinked,
    /// A field that the other side refused counts as brought.
    RefusedFieldSettled,
    /// A stamp that travels along is a change like any other.
    PassengerIsDirty,
    /// A record is made without the reference that it cannot do without.
    RequiredReferenceDropped,
    /// A reference is written with the id that it has on its own side.
    ReferenceUntranslated,
    /// A reference that was left out counts as brought.
    PendingSettled,
    /// A one-way field flows back.
    OneWayIgnored,
    /// A written cross-reference counts as an edit.
    WriteBackIsEdit,
    /// What waits to be brought from the target is forgotten by a message of the source.
    HeldForgotten,
    /// A record is made although a required field cannot be given.
    RequiredFieldIgnored,
    /// One field that cannot be written holds back the rest of its record.
    BlockedFieldHoldsRecord,
    /// Records that are linked to others are candidates of a match.
    LinkedIsCandidate,
    /// Nobody asks for the target's own message where only the target changed.
    TargetHintLost,
    /// An update is sent however long ago its target was read.
    StaleReadUnbounded,
    /// The intent of an update does not say that the two are being linked.
    IntentWithoutLink,
    /// What one side was decided on stands although its half has changed.
    DecisionOutlivesHalf,
    /// What only the target has is emptied at the first link.
    FirstMergeEmpties,
    /// A reference by another name is not looked up.
    NamedReferenceIgnored,
    /// Nobody misses messages that a store from a backup believes to be under way.
    LostMessagesForgotten,
    /// Reconciliation finds nothing wrong.
    NothingReconciled,
    /// An edit of a record about which a person was asked after a lost create has it made again.
    SimilarForgotten,
    /// A record is set aside as one without counterpart although it was linked meanwhile.
    ParkedThoughLinked,
    /// What a system made of our own write is a rival of somebody's edit on the other side.
    EchoIsRival,
    /// What we write ourselves is an event.
    OwnWriteTold,
    /// A look that is older than what is known is an event.
    OlderLookTold,
    /// What has been seen is noted before the events that follow from it.
    SeenBeforeTold,
    /// Events of one record do not wait for each other.
    TurnsIgnored,
    /// An event is noted as told before it is told.
    EventNotedFirst,
}

/// The mistake that is planted, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mistakes {
    #[cfg(feature = "planted-mistakes")]
    planted: Option<Mistake>,
}

impl Mistakes {
    /// None.
    pub const fn none() -> Mistakes {
        Mistakes {
            #[cfg(feature = "planted-mistakes")]
            planted: None,
        }
    }

    /// Plants one.
    #[cfg(feature = "planted-mistakes")]
    pub const fn plant(mistake: Mistake) -> Mistakes {
        Mistakes {
            planted: Some(mistake),
        }
    }

    /// Whether this mistake is planted.
    #[cfg(feature = "planted-mistakes")]
    pub fn has(self, mistake: Mistake) -> bool {
        self.planted == Some(mistake)
    }

    /// Whether this mistake is planted: never, in a normal build.
    #[cfg(not(feature = "planted-mistakes"))]
    pub const fn has(self, _mistake: Mistake) -> bool {
        false
    }
}
