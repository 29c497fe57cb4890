"""A Pulsar that is played: real AMQP on a real RabbitMQ, real HTTP to TESPES, and jobs that are nothing but a script.

It has the habits of the real one, the bad ones too, each on command; `tests/faults/test_habits.py` holds both to the same
tests. It writes its own record of what ran when, which shares nothing with TESPES.
"""

from simulated.pulsar import Habits, SimulatedPulsar
from simulated.record import Container, Record, Run
from simulated.way import Way

__all__ = ["Container", "Habits", "Record", "Run", "SimulatedPulsar", "Way"]
