"""What an operator does now and then: back up, restore, upgrade, write the interface down."""
