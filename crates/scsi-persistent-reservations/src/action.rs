use core::fmt;

/// Declares a service action enum with its codes and SPC names in one table.
macro_rules! service_actions {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $code,)* }

        impl $name {
            /// Every service action, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The action for a code of five bits; `None` where SPC names none.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The code for byte 1 of the CDB.
            pub const fn code(self) -> u8 {
                self as u8
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

service_actions! {
    /// A service action of PERSISTENT RESERVE IN (SPC-4 table 217).
    ///
    /// ```
    /// use scsi_persistent_reservations::InAction;
    ///
    /// assert_eq!(InAction::from_code(3), Some(InAction::ReadFullStatus));
    /// assert_eq!(InAction::ReadKeys.to_string(), "READ KEYS");
    /// ```
    InAction {
        /// All registered keys.
        ReadKeys = 0, "READ KEYS";
        /// The reservation that is held, if one is.
        ReadReservation = 1, "READ RESERVATION";
        /// What the device server supports.
        ReportCapabilities = 2, "REPORT CAPABILITIES";
        /// Every registration with its initiator port, and who holds the reservation.
        ReadFullStatus = 3, "READ FULL STATUS";
    }
}

service_actions! {
    /// A service action of PERSISTENT RESERVE OUT (SPC-4 table 228).
    ///
    /// ```
    /// use scsi_persistent_reservations::OutAction;
    ///
    /// assert_eq!(OutAction::from_code(5), Some(OutAction::PreemptAndAbort));
    /// assert!(OutAction::Preempt.uses_scope_and_type() && !OutAction::Clear.uses_scope_and_type());
    /// ```
    OutAction {
        /// Register, change or remove the key of this I_T nexus.
        Register = 0, "REGISTER";
        /// Create a reservation.
        Reserve = 1, "RESERVE";
        /// Release the reservation that this nexus holds.
        Release = 2, "RELEASE";
        /// Remove all registrations and the reservation.
        Clear = 3, "CLEAR";
        /// Remove other registrations and, where they held it, take over the reservation.
        Preempt = 4, "PREEMPT";
        /// The same, and abort the commands of those that were preempted.
        PreemptAndAbort = 5, "PREEMPT AND ABORT";
        /// Register without proving the present key.
        RegisterAndIgnoreExistingKey = 6, "REGISTER AND IGNORE EXISTING KEY";
        /// Register another initiator port and move the reservation to it.
        RegisterAndMove = 7, "REGISTER AND MOVE";
        /// Start anew after the device server lost its reservation data.
        ReplaceLostReservation = 8, "REPLACE LOST RESERVATION";
    }
}

impl OutAction {
    /// Whether the action registers, changes or removes the key of the sending nexus.
    pub const fn is_register(self) -> bool {
        matches!(self, Self::Register | Self::RegisterAndIgnoreExistingKey)
    }

    /// Whether the action preempts other registrations.
    pub const fn is_preempt(self) -> bool {
        matches!(self, Self::Preempt | Self::PreemptAndAbort)
    }

    /// Whether the SCOPE and TYPE fields mean anything for this action (SPC-4 table 229).
    pub const fn uses_scope_and_type(self) -> bool {
        matches!(
            self,
            Self::Reserve | Self::Release | Self::Preempt | Self::PreemptAndAbort | Self::ReplaceLostReservation
        )
    }
}
