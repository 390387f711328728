SET NOCOUNT ON;
DECLARE @server nvarchar(128), @role int, @state int, @safety int, @sequence int, @online int, @witness nvarchar(128), @guid nvarchar(36), @partner nvarchar(128);
SET @server = CAST(SERVERPROPERTY('ServerName') AS nvarchar(128));
SELECT @role = m.mirroring_role, @state = m.mirroring_state, @safety = m.mirroring_safety_level, @sequence = m.mirroring_role_sequence, @online = d.state, @witness = m.mirroring_witness_name, @guid = CAST(m.mirroring_guid AS nvarchar(36)), @partner = m.mirroring_partner_instance
 FROM sys.databases AS d JOIN sys.database_mirroring AS m ON m.database_id = d.database_id
 WHERE d.name = N'a/*b--c*/d';
IF DB_NAME() = N'master' AND @server = N'a/*b--c*/d' AND @role = 1 AND @state = 4 AND @safety = 2 AND @online = 0 AND @sequence = 7 AND @guid = N'ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB' AND @partner = N'a/*b--c*/d'
 ALTER DATABASE [a/*b--c*/d] SET PARTNER FAILOVER
ELSE
 RAISERROR (N'lync-mirror guard: nothing was done; role %d (1), state %d (4), safety %d (2), database state %d (0), witness %s, role sequence %d (%d), server %s, partner %s, guid %s', 16, 77, @role, @state, @safety, @online, @witness, @sequence, 7, @server, @partner, @guid);