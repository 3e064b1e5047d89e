# Connects anew for every event, sends it acknowledged, and counts: what an application sees while
# the agent is restarted. Ends when the file named as second argument exists.
#
#   perl client.pl STREAM STOP-FILE > acknowledged, refused and broken, one line
use strict;
use warnings;
use IO::Socket::INET;

my ($stream, $stop) = @ARGV;
my %count = (acknowledged => 0, refused => 0, unanswered => 0);
until (-e $stop) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1:15555', Timeout => 30);
    if (!$socket) {
        $count{refused}++;
        next;
    }
    print {$socket} "STANDPIPE/2 ack=durable\n$stream {\"n\":$count{acknowledged}}\n";
    $socket->flush;
    my $acknowledged = 0;
    while (my $line = <$socket>) {
        if ($line =~ /^ACK 1/) {
            $acknowledged = 1;
            last;
        }
    }
    $count{ $acknowledged ? 'acknowledged' : 'unanswered' }++;
    close $socket;
}
print join(' ', map { "$_=$count{$_}" } sort keys %count), "\n";
