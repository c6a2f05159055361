"""One exchange with time turned by hand: the commit point, the limits, failover seen and unseen."""
from ..fakes import World, streams
async def test_x():
    """X."""
    w=World("a/m","b/m")
    w.transport.on("a", streams("hello"))
    r=await w.ask()
    assert r.out.good, r.out.raw
