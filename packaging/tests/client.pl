# Connects anew for every event, sends it acknowledged, and counts: what an application sees while
# the agent is restarted. Ends when the file named as second argument exists.
#
#   perl client.pl STREAM STOP-FILE > acknowledged, refused and broken, one line
#   perl client.pl api STREAM       hands one record in as the Firehose API does, and prints the answer
use strict;
use warnings;
use IO::Socket::INET;

my ($stream, $stop) = @ARGV;
exit api($stop) if $stream eq 'api';
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

sub api {
    my ($name) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1:15556', Timeout => 30) or return 1;
    # "an event", as the API has it.
    my $body = qq({"DeliveryStreamName":"$name","Record":{"Data":"YW4gZXZlbnQ="}});
    print {$socket} "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n",
        "X-Amz-Target: Firehose_20150804.PutRecord\r\nConnection: close\r\n",
        'Content-Length: ', length $body, "\r\n\r\n$body";
    $socket->flush;
    my $answer = join '', <$socket>;
    print $answer;
    return $answer =~ m{^HTTP/1\.1 200 .*RecordId}s ? 0 : 1;
}
