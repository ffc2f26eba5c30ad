"""What a grid code asks of a charger beyond protection: power that follows frequency and voltage, in all quadrants.

Pure: standard library and firmware.grid_codes only. `GridSupport` (compose.py) is what callers use.

**Signs, everywhere in this package.** P: + = charging (taking from the grid), - = discharging. Q: + = absorbing
(under-excited, like an inductor), - = injecting (over-excited, like a capacitor). Both count the charger as a load, so
S = P + jQ. Grid codes write Q with + = injects and P with + = discharging: settings.py translates, nobody else does.
"""
